"""python-dbusmock's BlueZ on the bus that is given: one adapter, one device.

The template has no GATT, so a service and two characteristics are added by
hand. While the adapter is discovering, the device advertises; once it is
connected, its services are resolved and it notifies. With `--introspect` the
interfaces are printed as JSON and that is all.
"""

import json
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET

ADDRESS = sys.argv[1]
os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = ADDRESS

import dbus
import dbusmock

ADAPTER = "/org/bluez/hci0"
DEVICE = ADAPTER + "/dev_AA_BB_CC_00_00_01"
SERVICE = DEVICE + "/service0001"
MOCK = "org.freedesktop.DBus.Mock"
HEART_RATE = "00002a37-0000-1000-8000-00805f9b34fb"
BATTERY = "00002a19-0000-1000-8000-00805f9b34fb"
ENVIRONMENT = "0000181a-0000-1000-8000-00805f9b34fb"

server, _ = dbusmock.DBusTestCase.spawn_server_template(
    "bluez5", {}, stdout=subprocess.DEVNULL
)
bus = dbus.bus.BusConnection(ADDRESS)


def at(path, interface):
    return dbus.Interface(bus.get_object("org.bluez", path), interface)


TYPES = {
    dbus.String: "s",
    dbus.ObjectPath: "o",
    dbus.Boolean: "b",
    dbus.Int16: "n",
    dbus.UInt16: "q",
    dbus.UInt32: "u",
}


def signature(value):
    """The type of a property: introspection says `v`, as the template wraps all values."""
    if isinstance(value, dbus.Array):
        # An empty list does not say of what.
        return "a" + (str(value.signature) or TYPES[type(value[0])]) if value else None
    return TYPES[type(value)]


def describe(path):
    """Interfaces of an object with signatures of methods and types of properties."""
    xml = at(path, "org.freedesktop.DBus.Introspectable").Introspect()
    found = {}
    for interface in ET.fromstring(str(xml)).findall("interface"):
        name = interface.get("name")
        methods = {}
        for method in interface.findall("method"):
            arguments = method.findall("arg")
            methods[method.get("name")] = [
                "".join(a.get("type") for a in arguments if a.get("direction") != "out"),
                "".join(a.get("type") for a in arguments if a.get("direction") == "out"),
            ]
        properties = {}
        if interface.find("property") is not None:
            values = at(path, "org.freedesktop.DBus.Properties").GetAll(name)
            properties = {str(key): signature(value) for key, value in values.items()}
        found[name] = {"methods": methods, "properties": properties}
    return found


mock = at("/org/bluez", "org.bluez.Mock")
mock.AddAdapter("hci0", "mock")
mock.AddDevice("hci0", "AA:BB:CC:00:00:01", "mocked belt")
if "--introspect" in sys.argv:
    print(json.dumps({path: describe(path) for path in ["/org/bluez", ADAPTER, DEVICE]}))
    server.terminate()
    server.wait()
    sys.exit()

root = at("/", MOCK)
root.AddObject(
    SERVICE,
    "org.bluez.GattService1",
    {
        "UUID": "0000180d-0000-1000-8000-00805f9b34fb",
        "Device": dbus.ObjectPath(DEVICE),
        "Primary": True,
    },
    [],
)


def characteristic(name, uuid, flags, methods):
    path = SERVICE + "/" + name
    properties = {
        "UUID": uuid,
        "Service": dbus.ObjectPath(SERVICE),
        "Value": dbus.Array([], signature="y"),
        "Notifying": False,
        "Flags": dbus.Array(flags, signature="s"),
        "MTU": dbus.UInt16(185),
    }
    root.AddObject(path, "org.bluez.GattCharacteristic1", properties, methods)
    return path


battery = characteristic(
    "char0002",
    BATTERY,
    ["read", "write"],
    [
        ("ReadValue", "a{sv}", "ay", "ret = self.level if hasattr(self, 'level') else [dbus.Byte(87)]"),
        ("WriteValue", "aya{sv}", "", "self.level = args[0]"),
    ],
)
belt = characteristic(
    "char0005",
    HEART_RATE,
    ["notify"],
    [
        ("StartNotify", "", "", "self.UpdateProperties('org.bluez.GattCharacteristic1', {'Notifying': dbus.Boolean(True)})"),
        ("StopNotify", "", "", "self.UpdateProperties('org.bluez.GattCharacteristic1', {'Notifying': dbus.Boolean(False)})"),
    ],
)
over = threading.Event()


def get(path, interface, name):
    return at(path, "org.freedesktop.DBus.Properties").Get(interface, name)


def live():
    pulse = 60
    while not over.wait(0.05):
        pulse = 60 + (pulse + 1) % 60
        device = {}
        if get(ADAPTER, "org.bluez.Adapter1", "Discovering"):
            # The packet of the PVVX firmware: 21.5 °C, 45.15 %, 3000 mV, 87 %.
            packet = bytes.fromhex("010000ccbbaa6608a311b80b570104")
            device["RSSI"] = dbus.Int16(-50 - pulse % 2)
            device["ServiceData"] = dbus.Dictionary(
                {ENVIRONMENT: dbus.Array(packet, signature="y", variant_level=1)}, signature="sv"
            )
        connected = get(DEVICE, "org.bluez.Device1", "Connected")
        if connected != get(DEVICE, "org.bluez.Device1", "ServicesResolved"):
            resolved = {"ServicesResolved": connected}
            at(DEVICE, MOCK).UpdateProperties("org.bluez.Device1", resolved)
        if device:
            at(DEVICE, MOCK).EmitSignal(
                "org.freedesktop.DBus.Properties",
                "PropertiesChanged",
                "sa{sv}as",
                ["org.bluez.Device1", dbus.Dictionary(device, signature="sv"), dbus.Array([], signature="s")],
            )
        if connected and get(belt, "org.bluez.GattCharacteristic1", "Notifying"):
            value = dbus.Array([0x06, pulse], signature="y")
            at(belt, MOCK).UpdateProperties("org.bluez.GattCharacteristic1", {"Value": value})


# Connected is a thing of the mock's object, and not always of its properties.
at(DEVICE, MOCK).AddMethod(
    "org.bluez.Device1",
    "Connect",
    "",
    "",
    "self.connected = True; self.UpdateProperties('org.bluez.Device1', {'Connected': dbus.Boolean(True)})",
)
thread = threading.Thread(target=live)
thread.start()
print("ready", flush=True)
sys.stdin.read()
over.set()
thread.join()
server.terminate()
server.wait()

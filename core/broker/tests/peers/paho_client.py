"""paho-mqtt, as most applications in Python use it, against the broker.

paho_client.py PORT begin|end prints one JSON object. Between the two runs the
broker is ended and started again: what `begin` leaves waiting, `end` gets.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 60
PORT = int(sys.argv[1])


class Client:
    """A client whose events wait in queues."""

    def __init__(self, name, version, clean, before=lambda client: None):
        self.v5 = version == 5
        self.messages, self.events = queue.Queue(), queue.Queue()
        options = {} if self.v5 else {"clean_session": clean}
        protocol = mqtt.MQTTv5 if self.v5 else mqtt.MQTTv311
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=protocol, **options)
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_connect = lambda _c, _u, flags, code, _p: self.events.put((str(code), flags.session_present))
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: self.events.put([str(code) for code in codes])
        self.client.on_disconnect = lambda _c, _u, _f, code, _p: self.events.put(f"gone: {code}")
        before(self.client)
        connect = {}
        if self.v5:
            keep = Properties(PacketTypes.CONNECT)
            keep.SessionExpiryInterval = 0 if clean else 3600
            connect = {"clean_start": clean, "properties": keep}
        self.client.connect("127.0.0.1", PORT, **connect)
        self.client.loop_start()
        self.connected = self.event()

    def event(self):
        return self.events.get(timeout=PATIENCE)

    def subscribe(self, *filters):
        self.client.subscribe(list(filters))
        return self.event()

    def publish(self, topic, payload, qos, **more):
        """Waits for the acknowledgement that the QoS asks for."""
        told = self.client.publish(topic, payload, qos, **more)
        told.wait_for_publish(PATIENCE)
        assert told.is_published(), f"{topic} was not acknowledged"

    def next(self):
        message = self.messages.get(timeout=PATIENCE)
        return [message.topic, message.payload.decode(), message.qos, message.retain]

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """Without DISCONNECT, as a client that loses its network."""
        self.client.socket().shutdown(2)
        self.client.loop_stop()


def begin(version):
    """Messages of each QoS, retained ones, a will, and what waits for one that is away."""
    v, said = f"v{version}", {}
    teller = Client(f"{v}-teller", version, True)
    hearer = Client(f"{v}-hearer", version, True)
    said["connected"] = hearer.connected
    said["granted"] = hearer.subscribe((f"{v}/plain/#", 2), (f"{v}/will", 1))
    for qos in (0, 1, 2):
        teller.publish(f"{v}/plain/{qos}", f"of QoS {qos}", qos)
    said["heard"] = [hearer.next() for _ in range(3)]

    teller.publish(f"{v}/kept", "old", 1, retain=True)
    teller.publish(f"{v}/kept", "new", 1, retain=True)
    teller.publish(f"{v}/cleared", "x", 1, retain=True)
    teller.publish(f"{v}/cleared", "", 1, retain=True)
    hearer.subscribe((f"{v}/kept", 1), (f"{v}/cleared", 1))
    said["retained"] = hearer.next()

    dying = Client(f"{v}-dying", version, True, lambda client: client.will_set(f"{v}/will", "lost", 1))
    dying.vanish()
    said["will"] = hearer.next()

    away = Client(f"{v}-away", version, False)
    away.subscribe((f"{v}/wait/+", 2))
    away.end()
    for number in range(20):
        teller.publish(f"{v}/wait/{number % 2 + 1}", str(number), number % 2 + 1)
    hearer.end()
    teller.end()
    return said


def properties_of_5():
    """What only MQTT 5 has."""
    hearer, teller = Client("hearer", 5, True), Client("teller", 5, True)
    said = {"granted": hearer.subscribe(("$share/group/work/#", SubscribeOptions(qos=1)))}
    more = Properties(PacketTypes.PUBLISH)
    more.ContentType, more.ResponseTopic, more.CorrelationData = "text/plain", "answer/here", b"7"
    more.UserProperty = [("a", "1"), ("a", "2")]
    teller.publish("work/1", "all of it", 1, properties=more)
    came = hearer.messages.get(timeout=PATIENCE).properties
    said["properties"] = [came.ContentType, came.ResponseTopic, came.CorrelationData.decode(), came.UserProperty]
    local = SubscribeOptions(qos=1, noLocal=True)
    hearer.subscribe(("mine", local))
    hearer.publish("mine", "of myself", 1)
    teller.publish("mine", "of another", 1)
    said["no local"] = hearer.next()[1]
    hearer.end()
    teller.end()
    return said


def end(version):
    """The one that was away comes back, and ends its session."""
    v = f"v{version}"
    away = Client(f"{v}-away", version, False)
    said = {"connected": away.connected, "waited": [away.next()[1:3] for _ in range(20)]}
    away.end()
    fresh = Client(f"{v}-away", version, True)
    said["fresh"] = fresh.connected
    # Nothing of the former session comes before what comes now.
    fresh.subscribe((f"{v}/fence", 1))
    fresh.publish(f"{v}/fence", "now", 1)
    said["first"] = fresh.next()[1]
    fresh.end()
    return said


if sys.argv[2] == "begin":
    print(json.dumps({"3.1.1": begin(4), "5": begin(5), "of 5": properties_of_5()}))
else:
    print(json.dumps({"3.1.1": end(4), "5": end(5)}))

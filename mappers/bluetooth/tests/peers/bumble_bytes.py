"""Bytes of GATT values and advertisements by bumble, and what they mean.

Prints one JSON object: `gatt` is a list of [number, hexadecimal bytes, fields],
`adverts` a list of [format, service or company, bytes, address, key, fields].
The service data has gone through a whole advertising packet and back.
"""

import json
import struct

from bumble.core import UUID, AdvertisingData
from bumble.profiles.battery_service import BatteryService
from bumble.profiles.heart_rate_service import HeartRateService
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

gatt = []
Measurement = HeartRateService.HeartRateMeasurement
for rate, contact, energy, intervals in [
    (72, None, None, None),
    (72, True, None, [0.75, 0.8203125]),
    (300, False, 513, None),
    (61, True, 7, [1.0]),
]:
    value = bytes(Measurement(rate, contact, energy, intervals))
    fields = {"heartRate": rate}
    if contact is not None:
        fields["contact"] = contact
    if energy is not None:
        fields["energyExpended"] = energy
    if intervals:
        fields["rrInterval"] = intervals[-1]
    gatt.append([0x2A37, value.hex(), fields])

level = BatteryService(lambda _: 87).battery_level_characteristic
gatt.append([0x2A19, level.encode_value(87).hex(), {"value": 87}])

ADDRESS = "A4:C1:38:01:02:03"
MAC = bytes.fromhex(ADDRESS.replace(":", ""))
KEY = bytes(range(16))


def through(data_type, data):
    """The data as a receiver finds it in a packet with flags and a name."""
    packet = AdvertisingData(
        [
            (AdvertisingData.FLAGS, bytes([6])),
            (data_type, data),
            (AdvertisingData.COMPLETE_LOCAL_NAME, b"x"),
        ]
    )
    return AdvertisingData.from_bytes(bytes(packet)).get(data_type)


def service(number, data):
    uuid, found = through(
        AdvertisingData.SERVICE_DATA_16_BIT_UUID, struct.pack("<H", number) + data
    )
    assert uuid == UUID.from_16_bits(number)
    return found.hex()


adverts = []


def advert(name, number, data, fields, key=None):
    adverts.append([name, number, service(number, data), ADDRESS, key and key.hex(), fields])


pvvx = MAC[::-1] + struct.pack("<hHHBBB", -523, 4515, 2987, 87, 200, 5)
advert("pvvx", 0x181A, pvvx, {"temperature": -5.23, "humidity": 45.15, "voltage": 2.987, "battery": 87})
atc = MAC + struct.pack(">hBBHB", -52, 45, 87, 2987, 200)
advert("atc", 0x181A, atc, {"temperature": -5.2, "humidity": 45.0, "voltage": 2.987, "counter": 200})

objects = b"\x00\x07" + b"\x01\x57" + b"\x02" + struct.pack("<h", -1234) + b"\x2d\x01"
fields = {"packetId": 7, "battery": 87, "temperature": -12.34, "window": True}
advert("bthome", 0xFCD2, b"\x40" + objects, fields)
counter = struct.pack("<I", 0x33221100)
nonce = MAC + b"\xd2\xfc" + b"\x41" + counter
sealed = AESCCM(KEY, tag_length=4).encrypt(nonce, objects, None)
advert("bthome", 0xFCD2, b"\x41" + sealed[:-4] + counter + sealed[-4:], fields, KEY)

# MiBeacon version 5, sealed, with its address: product 0x055B, packet 9.
head = struct.pack("<HHB", 0x5858, 0x055B, 9)
more = bytes([1, 2, 3])
nonce = MAC[::-1] + head[2:5] + more
plain = struct.pack("<HBh", 0x1004, 2, 215)
sealed = AESCCM(KEY, tag_length=4).encrypt(nonce, plain, b"\x11")
mi = head + MAC[::-1] + sealed[:-4] + more + sealed[-4:]
advert("xiaomi", 0xFE95, mi, {"temperature": 21.5}, KEY)

tlm = struct.pack(">BBHhII", 0x20, 0, 2950, int(21.5 * 256), 4711, 36005)
advert("eddystone-tlm", 0xFEAA, tlm, {"voltage": 2.95, "temperature": 21.5, "packets": 4711, "uptime": 3600.5})

beacon = b"\x02\x15" + bytes(range(16)) + struct.pack(">HHb", 7, 258, -59)
company, found = through(
    AdvertisingData.MANUFACTURER_SPECIFIC_DATA, struct.pack("<H", 0x004C) + beacon
)
adverts.append(["ibeacon", company, found.hex(), ADDRESS, None, {"major": 7, "minor": 258, "measuredPower": -59}])

print(json.dumps({"gatt": gatt, "adverts": adverts}))

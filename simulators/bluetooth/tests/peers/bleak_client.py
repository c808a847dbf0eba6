"""bleak, a client of BlueZ that many use, against the bus of its environment.

Listens, connects, reads, writes, watches; prints what it saw as one JSON object.
"""

import asyncio
import json
import sys
import warnings

from bleak import BleakClient, BleakScanner

warnings.simplefilter("ignore")
SETPOINT = "4c6f6e67-7368-6f72-6500-000000000002"


async def main():
    seen = {}
    found = await BleakScanner.discover(timeout=2.5, return_adv=True)
    seen["adverts"] = {
        address: {
            "name": device.name,
            "rssi": advert.rssi,
            "service": {uuid: data.hex() for uuid, data in advert.service_data.items()},
        }
        for address, (device, advert) in found.items()
    }
    device = found[sys.argv[1]][0]
    async with BleakClient(device) as client:
        seen["characteristics"] = {
            characteristic.uuid: characteristic.properties
            for service in client.services
            for characteristic in service.characteristics
        }
        seen["humidity"] = (await client.read_gatt_char("2a6f")).hex()
        await client.write_gatt_char(SETPOINT, bytes.fromhex("2e09"), response=True)
        seen["setpoint"] = (await client.read_gatt_char(SETPOINT)).hex()
        got = asyncio.Queue()
        await client.start_notify("2a6e", lambda _, data: got.put_nowait(data))
        seen["notified"] = (await asyncio.wait_for(got.get(), 10)).hex()
        await client.stop_notify("2a6e")
        try:
            await client.write_gatt_char(SETPOINT, bytes.fromhex("ff7f"), response=True)
        except Exception as error:
            seen["refused"] = str(error)
    print(json.dumps(seen))


asyncio.run(main())

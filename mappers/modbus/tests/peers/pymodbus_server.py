"""A pymodbus server with the registers that the mapper's checks expect.

pymodbus_server.py tcp              listens on a free port of 127.0.0.1
pymodbus_server.py rtu|ascii PORT   serves a serial port
Prints "ready PORT" when it listens; ends when its input does.
"""

import asyncio
import os
import sys

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def words():
    """The holding registers of the checks, as in src/tests/rig.rs."""
    registers = [0] * 64
    registers[0] = 215
    registers[1:3] = [0x41AC, 0x0000]
    registers[3:5] = [0x0000, 0x41AC]
    registers[5:9] = [0, 1, 0, 2]
    registers[10:14] = [0x5368, 0x6F72, 0x6500, 0]
    registers[20] = 0x000A
    return registers


def device(unit):
    return SimDevice(
        id=unit,
        simdata=(
            [SimData(0, values=[i % 2 == 0 for i in range(32)], datatype=DataType.BITS)],
            [SimData(0, values=[i % 3 == 0 for i in range(32)], datatype=DataType.BITS)],
            [SimData(0, values=words(), datatype=DataType.REGISTERS)],
            [SimData(0, values=[0xFFFB, 1000], datatype=DataType.REGISTERS)],
        ),
    )


async def main():
    mode = sys.argv[1]
    units = [device(1), device(2)]
    if mode == "tcp":
        server = ModbusTcpServer(units, address=("127.0.0.1", 0))
    else:
        framer = FramerType.ASCII if mode == "ascii" else FramerType.RTU
        server = ModbusSerialServer(units, framer=framer, port=sys.argv[2], baudrate=19200)
    await server.listen()
    port = server.transport.sockets[0].getsockname()[1] if mode == "tcp" else 0
    print("ready", port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())

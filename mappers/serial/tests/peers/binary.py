"""A device that speaks in bytes, on a serial port: PORT BAUD.

AA | address 0A | length of command and data | command | data |
CRC-16/XMODEM of all but AA, highest byte first
"""
import struct
import sys
import time

import serial
from crccheck.crc import Crc16Xmodem

port = serial.Serial(sys.argv[1], int(sys.argv[2]))
value = 21.5
print("ready", flush=True)

while True:
    if port.read(1) != b"\xaa":
        continue
    head = port.read(2)
    body = port.read(head[1])
    crc = struct.unpack(">H", port.read(2))[0]
    if head[0] != 0x0A or Crc16Xmodem.calc(head + body) != crc:
        continue
    if body[0] == 0x57:
        value = struct.unpack(">f", body[1:])[0]
        data = b"\xd7"
    else:
        data = b"\xd2" + struct.pack(">f", value)
    answer = bytes([0x0A, len(data)]) + data
    frame = b"\xaa" + answer + struct.pack(">H", Crc16Xmodem.calc(answer))
    for byte in frame:
        port.write(bytes([byte]))
        port.flush()
        time.sleep(0.002)

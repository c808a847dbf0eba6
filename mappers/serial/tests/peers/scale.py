"""A scale that speaks a few commands of MT-SICS, on a serial port: PORT."""
import sys

import serial

port = serial.Serial(sys.argv[1], 9600)
weight = 100.25
print("ready", flush=True)


def answer(request):
    global weight
    if request == "SI":
        return f"S S {weight:10.2f} g"
    if request == "I4":
        return 'I4 A "B021002593"'
    if request == "Z":
        weight = 0.0
        return "Z A"
    if request.startswith("M "):
        weight = float(request[2:])
        return "M A"
    return "ES"


while True:
    line = port.read_until(b"\r\n")
    port.write(answer(line.decode("ascii").strip()).encode("ascii") + b"\r\n")

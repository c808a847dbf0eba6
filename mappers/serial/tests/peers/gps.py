"""A GPS receiver, on a serial port: PORT. The sentences are pynmea2's."""
import sys
import time

import pynmea2
import serial

port = serial.Serial(sys.argv[1], 9600)
print("ready", flush=True)
sentences = [
    pynmea2.RMC("GP", "RMC", ("184353.07", "A", "3351.0000", "S", "15112.5000", "E", "0.0", "0.0", "260508", "", "", "A")),
    pynmea2.GGA("GP", "GGA", ("184353.07", "3351.0000", "S", "15112.5000", "E", "1", "08", "0.9", "545.4", "M", "46.9", "M", "", "")),
]
while True:
    for sentence in sentences:
        port.write((str(sentence) + "\r\n").encode("ascii"))
    time.sleep(0.1)

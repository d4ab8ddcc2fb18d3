#!/usr/bin/env python3
"""The reference server behind `fotaproof adapter serve`, with one thing that goes wrong: `wrapped.py FAULT PROGRAM`."""
import json
import subprocess
import sys
import threading

FAULT, PROGRAM = sys.argv[1:]
server = subprocess.Popen([PROGRAM, "adapter", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def outward():
    for line in server.stdout:
        message = json.loads(line)
        if FAULT == "elsewhere" and "addresses" in (message.get("ok") or {}):
            # nobody listens there
            message["ok"]["addresses"]["coap"] = "127.0.0.1:9"
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


pump = threading.Thread(target=outward, daemon=True)
pump.start()
for line in sys.stdin:
    if FAULT == "dies-in-update" and '"update-start"' in line:
        server.kill()
        sys.exit("out of memory")
    server.stdin.write(line)
    server.stdin.flush()
    if '"quit"' in line:
        break
server.stdin.close()
pump.join()
sys.exit(server.wait())

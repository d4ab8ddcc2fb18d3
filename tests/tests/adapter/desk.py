#!/usr/bin/env python3
"""A hand with a device on its desk: `desk.py FAULT PROGRAM SERVER FOLDER`. The device is the reference device as a process; its power is
a SIGKILL, its flash a folder. Some of the hands are wrong in one way."""
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

FAULT, PROGRAM, SERVER, FOLDER = sys.argv[1:5]
FLASH = os.path.join(FOLDER, "flash-of-the-desk")
ONCE = os.path.join(FOLDER, "it-happened")
device = None


def once():
    """Whether this is the first time in the run, whichever process of the adapter asks."""
    try:
        os.close(os.open(ONCE, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def end(gently):
    global device
    if device is not None:
        device.terminate() if gently else device.kill()
        device.wait()
        device = None


def act(action):
    global device
    if action == "start" and device is None:
        command = [PROGRAM, "device", "--endpoint", "desk", "--server", SERVER, "--state", FLASH, "--boot", "50ms", "--install", "50ms",
                   "--no-sync", "--quiet"]
        device = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    elif action == "stop":
        end(True)
    elif action == "power-cut":
        end(False)
    elif action == "wipe":
        shutil.rmtree(FLASH, ignore_errors=True)


def digest():
    images = sorted(glob.glob(os.path.join(FLASH, "image-*.bin")))
    if not images:
        return ""
    with open(images[-1], "rb") as image:
        return hashlib.sha256(image.read()).hexdigest()


def do(request):
    operation, action = request["op"], request.get("action")
    if operation == "quit":
        end(True)
    elif operation == "image-digest" and FAULT == "blind":
        return {"error": {"kind": "failed", "message": "the debugger is unplugged"}}
    elif operation == "image-digest":
        if FAULT == "slow":
            time.sleep(1)
        return {"ok": {"sha256": digest()}}
    elif operation != "device":
        return {"error": {"kind": "unknown-operation", "message": f"no operation {operation}"}}
    elif action == "power-cut" and FAULT == "refuses" and device and once():
        return {"error": {"kind": "unsupported", "message": "there is no relay in the supply"}}
    elif action == "power-cut" and FAULT == "dies" and device and once():
        sys.stderr.write("lost the relay\n")
        sys.exit(9)
    else:
        if action == "power-cut" and FAULT == "slow" and device:
            time.sleep(1)
        act(action)
    return {"ok": {}}


def say(message):
    print(json.dumps(message), flush=True)


say({"event": "hello", "protocol": "1.0", "name": "desk.py", "version": "1", "role": "client",
     "capabilities": ["device", "image-digest", "quit"]})
for line in sys.stdin:
    request = json.loads(line)
    say({"id": request["id"], **do(request)})
    if request["op"] == "quit":
        break
    if request.get("action") == "stop" and FAULT == "dies-between" and once():
        sys.stderr.write("somebody closed the desk\n")
        sys.exit(4)

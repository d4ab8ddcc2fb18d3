#!/usr/bin/env python3
"""Adapters that are wrong in one way each: `double.py FAULT`. Most of them are fixtures/adapters/hello.py with its lines altered."""
import json
import os
import subprocess
import sys
import threading
import time

FAULT = sys.argv[1]
HELLO = {"event": "hello", "protocol": "1.0", "name": "double.py", "version": "1", "role": "server",
         "capabilities": ["start", "stop", "quit"]}


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def alone():
    """The faults that need nothing of a real adapter."""
    if FAULT == "no-hello":
        time.sleep(1000)
    if FAULT == "dies":
        sys.exit("no licence found")
    if FAULT == "garbage":
        say("Listening on port 5683")
        time.sleep(1000)
    if FAULT == "gigabyte":
        say(json.dumps(HELLO))
        sys.stdin.readline()
        for _ in range(16384):
            os.write(1, b"x" * 65536)
        time.sleep(1000)
    if FAULT == "gigabyte-first":
        while True:
            os.write(1, b"x" * 65536)
    if FAULT == "hangs":
        say(json.dumps(HELLO))
        time.sleep(1000)
    if FAULT == "dies-at-once":
        say(json.dumps(HELLO))
        sys.stdin.readline()
        sys.exit("out of memory")
    if FAULT == "floods":
        say(json.dumps(HELLO))
        while True:
            say("DEBUG nothing to do")


def altered(line):
    """What is written instead of a line of the adapter."""
    message = json.loads(line)
    hello, reply = message.get("event") == "hello", "id" in message
    if hello and FAULT == "wrong-version":
        message["protocol"] = "2.0"
    if hello and FAULT == "no-role":
        message["role"] = "gateway"
    if hello and FAULT == "claims-too-much":
        message["capabilities"] += ["read", "write-blocks"]
    if hello and FAULT == "odd-words":
        message["capabilities"] += ["reed"]
    if hello and FAULT == "no-stop":
        message["capabilities"].remove("stop")
    if reply and FAULT == "other-ids":
        message["id"] += 1000
    if reply and FAULT == "wrong-address" and "addresses" in message.get("ok", {}):
        message["ok"]["addresses"]["coap"] = "127.0.0.1:9"
    if reply and FAULT == "accepts-all" and message.get("error", {}).get("kind") == "unknown-operation":
        message = {"id": message["id"], "ok": {}}
    if FAULT == "no-events" and message.get("event") == "registered":
        return []
    if FAULT == "chatty" and reply:
        return ["DEBUG replied", json.dumps(message)]
    return [json.dumps(message)] * (2 if reply and FAULT == "twice" else 1)


def main():
    alone()
    if FAULT == "leaves-a-child":
        subprocess.Popen(["sleep", "1000"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    here = os.path.dirname(os.path.abspath(__file__))
    hello = os.path.join(here, "../../../fixtures/adapters/hello.py")
    child = subprocess.Popen([sys.executable, hello], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def forward():
        for line in sys.stdin:
            child.stdin.write(line)
            child.stdin.flush()
        child.stdin.close()

    threading.Thread(target=forward, daemon=True).start()
    for line in child.stdout:
        for one in altered(line):
            say(one)
    child.wait()
    if FAULT == "does-not-exit":
        time.sleep(1000)
    os._exit(3 if FAULT == "exits-with-3" else 0)


main()

#!/usr/bin/env python3
"""Adapters and servers that are wrong in one way each: `double.py FAULT [COMMAND..]`. Most of them are an adapter, that of the command
or fixtures/adapters/hello.py, with its lines altered."""
import json
import os
import signal
import socket
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


    if FAULT in SERVERS:
        serve(SERVERS[FAULT])


def serve(answer):
    """A server that gives one answer to all that devices send."""
    sockets = {}
    say(json.dumps(HELLO))
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "start":
            one = sockets[request["instance"]] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind(("127.0.0.1", 0))
            threading.Thread(target=talk, args=(one, answer), daemon=True).start()
            say(json.dumps({"id": request["id"], "ok": {"addresses": {"coap": "%s:%d" % one.getsockname()}}}))
        else:
            say(json.dumps({"id": request["id"], "ok": {}}))
        if request["op"] == "quit":
            os._exit(0)


def talk(one, answer):
    while True:
        datagram, sender = one.recvfrom(65536)
        reply = answer(datagram)
        if reply is not None:
            one.sendto(reply, sender)
        if FAULT == "closes-its-port":
            one.close()
            return


def silence(datagram):
    """Does not answer, and with `makes-late` keeps the harness from running for a while: many times ACK_TIMEOUT at its speed."""
    global stalled
    if FAULT == "makes-late" and not stalled:
        stalled = True
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(1)
        os.kill(os.getppid(), signal.SIGCONT)


stalled = False
SERVERS = {
    "refuses": lambda datagram: bytes([0x60 | datagram[0] & 15, 0x83]) + datagram[2:4 + (datagram[0] & 15)],
    "talks-garbage": lambda datagram: b"\xff\x00 no CoAP at all",
    "resets": lambda datagram: bytes([0x70, 0]) + datagram[2:4],
    "says-nothing": silence,
    "makes-late": silence,
    "closes-its-port": lambda datagram: bytes([0x60 | datagram[0] & 15, 0x41]) + datagram[2:4 + (datagram[0] & 15)] + b"\x82rd\x011",
}


def once():
    """Whether this is the first time in the run, whichever process of the adapter asks."""
    try:
        os.close(os.open(os.path.join(os.environ["FOTAPROOF_TEST"], "it-happened"), os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


last = []  # the reply after which the adapter is gone
ending = threading.Event()  # the first thread leaves the end to another


def heard(line, child):
    """What the adapter is told instead of a line of the harness."""
    try:
        operation = json.loads(line).get("op")
    except ValueError:
        return line  # what is no request is told as it is
    if operation == "start" and FAULT == "dies-in-start" or operation == "update-start" and FAULT == "dies-in-a-campaign":
        ending.set()
        child.kill()
        sys.stderr.write("segmentation fault\n")
        sys.stderr.flush()
        os._exit(139)
    if operation == "start" and FAULT == "closes-its-output":
        child.kill()
        os.close(1)
        time.sleep(1000)
    if operation == "start" and FAULT == "refuses-to-start":
        say(json.dumps({"id": json.loads(line)["id"], "error": {"kind": "failed", "message": "no licence for more servers"}}))
        return None
    if operation == "start" and FAULT == "floods-events":
        for number in range(50000):
            say(json.dumps({"event": "log", "text": f"line {number}"}))
    if operation == "quit" and FAULT == "ignores-quit":
        time.sleep(1000)
    if operation == "update-start" and FAULT == "says-it-succeeded":
        request = json.loads(line)
        say(json.dumps({"id": request["id"], "ok": {}}))
        say(json.dumps({"event": "update-status", "instance": request["instance"], "update": request["update"],
                        "progress": {"status": "succeeded", "state": 0, "result": 1, "version": "2.0.0"}}))
        return None
    if operation == "stop" and FAULT == "dies-after-stop" and once():
        last.append(json.loads(line)["id"])
    if operation == "stop" and FAULT == "stops-in-a-campaign":
        ending.set()
        child.send_signal(signal.SIGCONT)
    return line


def altered(line, child):
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
    if reply and FAULT == "late":
        time.sleep(3)
    if reply and FAULT == "long-line":
        return [json.dumps({"event": "log", "text": "x" * (2 << 20)}), json.dumps(message)]
    if reply and FAULT == "not-utf8":
        os.write(1, b'{"event":"log","text":"\xff\xfe"}\n')
    if reply and FAULT == "nul":
        os.write(1, b"\0\0\0\n")
    if reply and FAULT == "hello-twice":
        return [json.dumps(HELLO), json.dumps(message)]
    if reply and FAULT == "unknown-event":
        return ['{"event":"coffee-ready"}', json.dumps(message)]
    progress = message.get("progress") or message.get("ok", {}).get("progress")
    if progress and FAULT == "never-ends" and progress["status"] == "succeeded":
        progress.update(status="updating", state=3, result=0)
    if progress and FAULT == "says-it-failed" and progress["status"] == "succeeded":
        progress.update(status="failed", reason="the device does not answer")
    if progress and FAULT == "stops-in-a-campaign" and progress["status"] == "transferring" and not ending.is_set():
        child.send_signal(signal.SIGSTOP)
    kind = message.get("error", {}).get("kind")
    if FAULT == "accepts-any" and (kind == "unknown" or kind == "bad-request" and message["id"]):
        message = {"id": message["id"], "ok": {}}
    if FAULT == "no-hex" and "sha256" in message.get("ok", {}):
        message["ok"]["sha256"] = "0x17"
    if reply and FAULT == "ends-by-itself":
        return [json.dumps(message), json.dumps({"event": "device-ended", "instance": "check-device", "reason": "it was told to"})]
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
    command = sys.argv[2:]
    if not command or command[0].startswith("--speed"):
        command = [sys.executable, hello]  # it has no clock to speak of
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def forward():
        for line in sys.stdin:
            told = heard(line, child) if line.startswith('{"') else line
            if told is not None:
                child.stdin.write(told)
                child.stdin.flush()
        child.stdin.close()

    threading.Thread(target=forward, daemon=True).start()
    for line in child.stdout:
        for one in altered(line, child):
            say(one)
        if last and json.loads(line).get("id") == last[0]:
            child.kill()
            sys.stderr.write("licence expired\n")
            sys.stderr.flush()
            os._exit(7)
    if ending.is_set() and FAULT.startswith("dies"):
        time.sleep(1000)
    child.wait()
    if FAULT in ("does-not-exit", "closes-its-output"):
        time.sleep(1000)
    os._exit(3 if FAULT == "exits-with-3" else 0)


main()

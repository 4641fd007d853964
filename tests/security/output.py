#!/usr/bin/env python3
"""Functions that flood their log. The server must stay as small and as quick as it was.

usage: output.py BINARY

A function leaves a process behind that writes for ever, others print in a loop, and one ends while what it started writes on. Meanwhile the
server's memory and the time of an answer are watched.
Exit code 0: it holds. Needs boto3. Traffic stays on 127.0.0.1.
"""
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile

import boto3
import botocore.config

WATCHED, MOST_MIB, SLOWEST = 8, 150, 2.0  # seconds, MiB more than at the start, seconds
FUNCTIONS = {
    "leaves": "import subprocess\ndef handler(event, context):\n    subprocess.Popen(['yes', 'y' * 100], start_new_session=True)\n",
    "prints": "import time\ndef handler(event, context):\n    end = time.time() + 5\n    while time.time() < end:\n        print('x' * 200)\n",
    "ends": "import os, subprocess\ndef handler(event, context):\n    subprocess.Popen(['yes'], start_new_session=True)\n    os._exit(3)\n",
}
failures = []


def expect(holds, what):
    print(f"  {'ok    ' if holds else 'FAILED'} {what}", flush=True)
    if not holds:
        failures.append(what)


def start(binary):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen([binary, "serve", "--in-memory", "--port", str(port), "--no-workflows", "--log-level", "error"], stdout=subprocess.PIPE, text=True)
    assert "is ready" in server.stdout.readline()
    return server, f"http://127.0.0.1:{port}"


def resident_mib(process):
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def answered_in(url):
    begun = time.time()
    try:
        urllib.request.urlopen(url + "/healthz", timeout=10).read()
    except OSError:
        pass
    return time.time() - begun


def flood(functions, name, code, server, url):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", code)
    functions.create_function(FunctionName=name, Runtime="python3.11", Role="arn:aws:iam::000000000000:role/r", Handler="app.handler", Timeout=30, Code={"ZipFile": packed.getvalue()})
    before = resident_mib(server)
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    most, slowest, end = before, 0.0, time.time() + WATCHED
    while time.time() < end and most < before + 2000:
        slowest = max(slowest, answered_in(url))
        most = max(most, resident_mib(server))
        time.sleep(0.1)
    expect(most - before < MOST_MIB and slowest < SLOWEST, f"{name}: {most - before} MiB more, the slowest answer in {slowest:.2f} s")


def main():
    server, url = start(os.path.abspath(sys.argv[1]))
    config = botocore.config.Config(read_timeout=10, retries={"max_attempts": 0})
    functions = boto3.client("lambda", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-west-2", config=config)
    try:
        for name, code in FUNCTIONS.items():
            flood(functions, name, code, server, url)
        server.send_signal(signal.SIGTERM)
        begun = time.time()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            pass
        expect(server.poll() == 0, f"it stops when it is told to, in {time.time() - begun:.1f} s")
    except Exception as problem:  # of a server that does not answer any more
        expect(False, f"the server answers: {type(problem).__name__} {problem}")
    finally:
        server.kill()
        server.wait()
    print(f"{len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

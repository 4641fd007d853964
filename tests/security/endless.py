#!/usr/bin/env python3
"""Attacks with executions that never end: everybody else must be answered, and the server must stop when it is told to.

usage: endless.py BINARY [NAME…]      NAME: of an attack, all without
Exit code 0: the server held. Each attack is named; bounded in time; loopback only.
"""
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
from botocore.config import Config

# Two states in a circle. The history has room for 12,500 rounds.
COMPUTING = {
    "QueryLanguage": "JSONata",
    "StartAt": "Compute",
    "States": {
        "Compute": {"Type": "Pass", "Output": "{% $sum($map([1..300000], function($v) { $v * 2 })) %}", "Next": "Again"},
        "Again": {"Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": "Compute"}], "Default": "Done"},
        "Done": {"Type": "Succeed"},
    },
}
CARRYING = {
    "StartAt": "Assign",
    "States": {
        "Assign": {"Type": "Pass", "Assign": {name + ".$": "$.much" for name in "abcdef"}, "Next": "Again"},
        "Again": {"Type": "Choice", "Choices": [{"Variable": "$.much", "IsPresent": True, "Next": "Assign"}], "Default": "Done"},
        "Done": {"Type": "Succeed"},
    },
}
SLOWEST = 0.5  # seconds that anybody else waits for an answer on a busy machine; without the attack it is some milliseconds
DRAIN = 1.0


class Server:
    def __init__(self, binary, folder):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = open(folder / "log", "ab")
        self.process = subprocess.Popen(
            [binary, "serve", "--data", str(folder / "data"), "--no-workflows", "--no-throttling", "--port", str(self.port), "--drain-seconds", str(DRAIN)],
            stdout=self.log, stderr=self.log)
        self.url = f"http://127.0.0.1:{self.port}"
        begun = time.monotonic()
        while time.monotonic() - begun < 30:
            try:
                self.healthy(5)
                break
            except OSError:
                time.sleep(0.02)
        self.started_in = time.monotonic() - begun
        self.states = boto3.client("stepfunctions", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test",
                                   config=Config(read_timeout=20, retries={"total_max_attempts": 1}))

    def healthy(self, patience):
        urllib.request.urlopen(self.url + "/healthz", timeout=patience).read()

    def start(self, name, definition, payload):
        machine = self.states.create_state_machine(name=name, definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/r")
        return self.states.start_execution(stateMachineArn=machine["stateMachineArn"], name="endless", input=json.dumps(payload))["executionArn"]

    def status(self, arn):
        return self.states.describe_execution(executionArn=arn)["status"]

    def slowest_answer(self, seconds):
        slowest, end = 0.0, time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.monotonic()
            self.healthy(20)
            self.states.list_state_machines()
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.02)
        return slowest

    def stop(self):
        """Seconds until it had ended; None when it had to be killed."""
        begun = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(DRAIN + 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        return time.monotonic() - begun

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def endless(binary, folder, name, definition, payload):
    server = Server(binary, folder)
    try:
        arn = server.start(name, definition, payload)
        slowest = server.slowest_answer(1)
        if slowest > SLOWEST:
            return f"another client waited {slowest:.1f} s"
        if server.status(arn) != "RUNNING":
            return f"the attack ended by itself: {server.status(arn)}"
        server.kill()
        server = Server(binary, folder)
        if server.started_in > 5:
            return f"the next start took {server.started_in:.1f} s"
        slowest = server.slowest_answer(1)
        if slowest > SLOWEST:
            return f"after a restart another client waited {slowest:.1f} s"
        took = server.stop()
        if took is None or took > DRAIN + 1:
            return f"SIGTERM was obeyed after {took} s"
        if (took := subprocess.run([binary, "executions", "stop", "--data", str(folder / "data"), arn], capture_output=True, text=True)).returncode:
            return f"'executions stop --data' failed: {took.stderr}"
        server = Server(binary, folder)
        if server.status(arn) != "ABORTED":
            return f"the execution is {server.status(arn)} after it was stopped offline"
        history = server.states.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=1)["events"]
        if history[0]["type"] != "ExecutionAborted":
            return f"its last event is {history[0]['type']}"
        arn = server.states.start_execution(stateMachineArn=arn.replace(":execution:", ":stateMachine:").rsplit(":", 1)[0], name="again",
                                            input=json.dumps(payload))["executionArn"]
        begun = time.monotonic()
        server.states.stop_execution(executionArn=arn)
        while server.status(arn) == "RUNNING" and time.monotonic() - begun < 20:
            time.sleep(0.02)
        if server.status(arn) != "ABORTED":
            return "StopExecution did not end it"
        return None
    finally:
        server.kill()


ATTACKS = {
    "expressions that compute for long": lambda binary, folder: endless(binary, folder, "Computing", COMPUTING, {}),
    "a circle of states with a large variable": lambda binary, folder: endless(binary, folder, "Carrying", CARRYING, {"much": "y" * 200_000}),
}


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    failed = 0
    for name, attack in ATTACKS.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                problem = attack(binary, pathlib.Path(folder))
            except Exception as e:  # a server that does not answer any more
                problem = f"{type(e).__name__}: {e}"
        failed += problem is not None
        print(f"  {'held  ' if problem is None else 'BROKEN'} {name}{': ' + problem if problem else ''}", flush=True)
    ran = len(sys.argv[2:]) or len(ATTACKS)
    print(f"{ran - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

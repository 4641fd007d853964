"""What the runners share: checks that are counted, waiting, the server, and stock clients that know nothing of it but its address."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

import boto3
import botocore.config

results = {"passed": 0, "failed": 0}


def check(name, condition, detail=""):
    results["passed" if condition else "failed"] += 1
    print(f"  {'ok    ' if condition else 'FAILED'} {name}" + ("" if condition else f": {detail}"), flush=True)


def finish():
    print(f"{results['passed']} passed, {results['failed']} failed", flush=True)
    sys.exit(1 if results["failed"] else 0)


def until(condition, seconds=20, every=0.05):
    """The first value of the condition that is true, or its last."""
    end = time.time() + seconds
    while time.time() < end:
        value = condition()
        if value:
            return value
        time.sleep(every)
    return condition()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    binary = None  # set by the runner

    def __init__(self, *arguments, command="serve", port=None, env=None, **how):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([self.binary, command, "--port", str(self.port), *arguments], stdout=subprocess.PIPE, text=True, env=dict(os.environ, **(env or {})), **how)
        self.banner = self.process.stdout.readline()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(20)


def client(service, url, region="us-west-2", key="test", secret="test", retries=5):
    config = botocore.config.Config(retries={"max_attempts": retries})
    return boto3.client(service, endpoint_url=url, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret, config=config)


class Aws:
    """The aws command line with nothing but an endpoint."""

    def __init__(self, url, region):
        self.url, self.region = url, region

    def __call__(self, *arguments):
        env = dict(os.environ, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION=self.region, AWS_PAGER="", AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
        run = subprocess.run(["/usr/bin/aws", "--endpoint-url", self.url, "--output", "json", *arguments], env=env, capture_output=True, text=True)
        self.error = run.stderr
        return json.loads(run.stdout) if run.stdout.lstrip().startswith(("{", "[", '"')) else None

#!/usr/bin/env python3
"""Attacks on a server from outside, as somebody without its keys, as a web page, and as a user who wants more than is his.

usage: run.py BINARY [NAME…]      NAME: of an attack, all without
Exit code 0: the server held. Each attack is named; bounded in time; loopback only.
"""
import datetime
import http.client
import json
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import boto3
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

KEY, SECRET = "AKIATEST", "the secret of the test"
DRAIN = 1.0


class Server:
    """One that has keys, unless `keys` is None; `descriptors`: how many it may have open."""

    def __init__(self, binary, folder, *options, keys={KEY: SECRET}, descriptors=None):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.folder, self.log_file = folder, folder / "log"
        command = [binary, "serve", "--no-workflows", "--no-throttling", "--port", str(self.port), "--drain-seconds", str(DRAIN), *options]
        if "--data" not in options:
            command.append("--in-memory")
        command += ["--mail", str(folder / "mail")]
        if keys is not None:
            (folder / "keys.json").write_text(json.dumps(keys))
            command += ["--access-keys", str(folder / "keys.json")]
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))) if descriptors else None
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(self.log_file, "ab"), preexec_fn=limit)
        self.url = f"http://127.0.0.1:{self.port}"
        end = time.monotonic() + 20
        while self.process.poll() is None and not self.healthy() and time.monotonic() < end:
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def send(self, method, target, headers={}, body=b"", patience=5):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body or method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def raw(self, request):
        """The status of the first answer to these bytes; 0 when there was none."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
            s.sendall(request)
            try:
                answer = s.recv(4096)
            except OSError:
                return 0
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0

    def healthy(self, patience=2):
        try:
            return self.send("GET", "/healthz", patience=patience)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def client(self, service, key=KEY, secret=SECRET, token=None):
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
                            aws_session_token=token, config=Config(read_timeout=10, retries={"total_max_attempts": 1}))

    def stop(self):
        """Seconds until it had ended, None when it did not."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(DRAIN + 5)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic() - begun


def unsigned(binary, folder):
    with Server(binary, folder) as server:
        server.client("secretsmanager").create_secret(Name="s", SecretString="treasure")
        ec2 = "/?Action=DescribeRegions&Version=2016-11-15"
        target = {"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1"}
        body = b'{"SecretId":"s"}'
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO"):
            for name, answer in (("ec2", server.send(method, ec2)), ("secretsmanager", server.send(method, "/", target, body)),
                                 ("/metrics", server.send(method, "/metrics")), ("lambda", server.send(method, "/2015-03-31/functions/")),
                                 ("s3", server.send(method, "/bucket/key"))):
                if answer[0] < 400 or "treasure" in answer[1]:
                    return f"an unsigned {method} of {name} was answered {answer[0]}: {answer[1][:80]}"
        scope = f"/2015-03-31/functions/?X-Amz-Credential={KEY}/20260101/us-east-1/lambda/aws4_request"
        if server.send("GET", scope)[0] < 400:
            return "naming a key was enough"
        if server.send("GET", "/readyz")[0] != 200:
            return "/readyz is refused too"
        if server.client("sts").get_caller_identity()["Account"] != "000000000000":
            return "the right key is refused"
    return None


def csrf(binary, folder):
    with Server(binary, folder, keys=None) as server:
        page = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Content-Type": "text/plain"}
        scope = "X-Amz-Credential=a/20260101/us-east-1/lambda/aws4_request"
        function = json.dumps({"FunctionName": "csrf", "Role": "arn:aws:iam::000000000000:role/r", "Runtime": "python3.11", "Handler": "a.b",
                               "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}).encode()
        attempts = {
            "a simple POST made a function": ("POST", f"/2015-03-31/functions?{scope}", page, function),
            "an image was an operation": ("GET", "/?Action=CreateTopic&Name=t&Version=2010-03-31",
                                          {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, b""),
            "a page of another port was answered": ("GET", "/?Action=ListTopics&Version=2010-03-31", {"Origin": "http://127.0.0.1:1"}, b""),
            "an opaque origin was answered": ("POST", "/?Action=ListTopics&Version=2010-03-31", {"Origin": "null"}, b""),
            "a link was an operation": ("GET", "/?Action=CreateTopic&Name=t&Version=2010-03-31",
                                        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, b""),
        }
        for what, attempt in attempts.items():
            status, _ = server.send(*attempt)
            if status != 403:
                return f"{what}: {status}"
        if server.client("sns").list_topics()["Topics"] or "csrf" in str(server.client("lambda").list_functions()["Functions"]):
            return "something was made"
        if server.send("GET", "/healthz", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] != 200:
            return "a link to /healthz does not work"
    return None


def rebinding(binary, folder):
    with Server(binary, folder, "--advertise", "http://snapward.example.com:4566", keys=None) as server:
        for host in ("evil.example", f"evil.example:{server.port}", "192.0.2.1", "localhost.evil.example", "", "127.0.0.1@evil.example"):
            if (status := server.send("GET", "/?Action=DescribeRegions&Version=2016-11-15", {"Host": host})[0]) not in (400, 403):
                return f"the Host '{host}' was answered {status}"
        for host in ("localhost", "bucket.localhost:80", "snapward:4566", "[::1]:4566", "127.0.0.7", "snapward.example.com"):
            if (status := server.send("GET", "/healthz", {"Host": host})[0]) != 200:
                return f"the Host '{host}' was answered {status}"
    return None


def keys_file(binary, folder):
    for keys in ({}, {KEY: None}, {KEY: ""}, {KEY: 1}, {"": SECRET}, [], "text"):
        with Server(binary, folder, keys=keys) as server:
            if server.process.poll() is None:
                return f"it runs with {json.dumps(keys)}"
            if server.process.returncode != 1:
                return f"it ended with {server.process.returncode}"
    return None


def anonymous_port(binary, folder):
    with Server(binary, folder, "--host", "0.0.0.0", keys=None) as server:
        if server.process.poll() is None:
            return "it listens on all addresses without keys"
        if "--allow-anonymous" not in server.log_file.read_text():
            return "it does not say what to do"
    with Server(binary, folder, "--host", "0.0.0.0", "--allow-anonymous", keys=None) as server:
        return None if server.healthy() else "it does not start although that is allowed"


def signed(server, service, headers, body, *, drop=(), key=KEY, secret=SECRET, token=None, unsigned_body=None, later={}):
    """Sends a POST signed by botocore; headers in `drop` are not signed, those of `later` are added after signing."""
    request = AWSRequest("POST", server.url + "/", headers=headers, data=body)
    auth = SigV4Auth(Credentials(key, secret, token), service, "us-east-1")
    if unsigned_body:
        request.headers["X-Amz-Content-SHA256"] = unsigned_body
        auth.payload = lambda _: unsigned_body
    kept = auth.headers_to_sign
    def without(r):
        out = kept(r)
        for name in drop:
            del out[name]
        return out
    auth.headers_to_sign = without
    auth.add_auth(request)
    return server.send("POST", "/", {**dict(request.headers.items()), **later}, body)


def signature_gaps(binary, folder):
    with Server(binary, folder) as server:
        put = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
        if (status := signed(server, "dynamodb", put, b"{}")[0]) != 200:
            return f"a good signature is refused: {status}"
        for mode in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
            if signed(server, "dynamodb", put, b"{}", unsigned_body=mode)[0] < 400:
                return f"{mode} was accepted of DynamoDB"
        for name in ("host", "x-amz-date", "x-amz-target"):
            if signed(server, "dynamodb", put, b"{}", drop=[name])[0] < 400:
                return f"{name} need not be signed"
        later = {"X-Amz-Target": put["X-Amz-Target"]}
        if signed(server, "dynamodb", {"Content-Type": put["Content-Type"]}, b"{}", later=later)[0] < 400:
            return "a target that was added on the way was accepted"
        if signed(server, "dynamodb", put, b"{}", token="made up")[0] < 400:
            return "a session token of nobody was accepted"
    return None


def sessions(binary, folder):
    with Server(binary, folder) as server:
        given = server.client("sts").assume_role(RoleArn="arn:aws:iam::000000000000:role/r", RoleSessionName="session")["Credentials"]
        session = server.client("sqs", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        session.create_queue(QueueName="q")
        try:
            server.client("sqs", given["AccessKeyId"], given["SecretAccessKey"]).list_queues()
            return "they work without their token"
        except ClientError:
            return None


def pieces(binary, folder):
    """An upload whose pieces were altered on the way."""
    with Server(binary, folder) as server:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="bucket")

        def put(alter):
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
            scope = f"{now[:8]}/us-east-1/s3/aws4_request"
            mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
            request = AWSRequest("PUT", f"{server.url}/bucket/k", data=b"", headers={
                "X-Amz-Content-SHA256": mode, "X-Amz-Decoded-Content-Length": "5", "Content-Encoding": "aws-chunked"})
            auth = SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1")
            auth.payload = lambda _: mode
            auth.add_auth(request)
            last = request.headers["Authorization"].split("Signature=")[1]
            now = request.headers["X-Amz-Date"]
            import hashlib
            import hmac
            key = f"AWS4{SECRET}".encode()
            for part in scope.split("/"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            body = b""
            for data in (b"hello", b""):
                text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", now, scope, last, hashlib.sha256().hexdigest(), hashlib.sha256(data).hexdigest()])
                last = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
                body += f"{len(data):x};chunk-signature={last}\r\n".encode() + data + b"\r\n"
            return server.send("PUT", "/bucket/k", dict(request.headers.items()), alter(body))
        status, text = put(lambda body: body)
        if status != 200 or s3.get_object(Bucket="bucket", Key="k")["Body"].read() != b"hello":
            return f"a good upload in pieces is not stored as it was: {status} {text[:100]}"
        status, _ = put(lambda body: body.replace(b"hello", b"hullo"))
        return None if status == 403 else f"an altered piece was answered {status}"


def blocked_reader(binary, folder):
    """Pipelined requests that ask for 100 Continue, by clients that read nothing."""
    with Server(binary, folder, keys=None) as server:
        large = b"GET /?Action=DescribeRegions&Version=2016-11-15 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        expecting = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nz"
        size = len(server.send("GET", "/?Action=DescribeRegions&Version=2016-11-15")[1])
        greedy = []
        for full in range(1_800_000, 2_600_000, 20_000):  # the buffer for what is sent is full at another place in each
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", server.port))
            s.setblocking(False)
            greedy.append((s, bytearray(large * (full // size) + expecting * 4000)))
        end = time.monotonic() + 8
        slowest = 0.0
        while time.monotonic() < end:
            for s, left in greedy:
                try:
                    del left[:s.send(left[:65536])]
                except (BlockingIOError, ConnectionError):
                    pass
            begun = time.monotonic()
            if not server.healthy(3):
                return "other clients are not answered any more"
            slowest = max(slowest, time.monotonic() - begun)
        took = server.stop()
        for s, _ in greedy:
            s.close()
        return None if took is not None and took < DRAIN + 1 else f"SIGTERM was obeyed after {took} s"


def idle_connections(binary, folder):
    """More connections than the server may have descriptors."""
    with Server(binary, folder, "--data", str(folder / "data"), keys=None, descriptors=256) as server:
        idle = []
        for _ in range(400):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", server.port))
            idle.append(s)
        time.sleep(1.5)
        ticks = lambda: sum(int(n) for n in pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
        before = ticks()
        time.sleep(1)
        if ticks() - before > 50:
            return "it spins"
        if not server.healthy(10):
            return "nobody else comes in"
        s3 = server.client("s3")
        s3.create_bucket(Bucket="bucket")
        for n in range(72):
            s3.put_object(Bucket="bucket", Key=str(n), Body=b"x" * 180_000)
        time.sleep(1)
        if server.process.poll() is not None:
            return f"it ended: {server.log_file.read_text()[-200:]}"
        for s in idle:
            s.close()
        return None if server.healthy() else "it does not recover"


def half_open(binary, folder):
    """Requests that are begun and never ended, on all connections that one address may have."""
    with Server(binary, folder, keys=None, descriptors=128) as server:
        slow = []
        for _ in range(200):
            s = socket.create_connection(("127.0.0.1", server.port))
            s.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
            slow.append(s)
        time.sleep(1.5)
        held = server.healthy(10)
        for s in slow:
            s.close()
        return None if held else "nobody else comes in"


def smuggling(binary, folder):
    with Server(binary, folder, keys=None) as server:
        for what, request in {
            "an unknown transfer coding": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "two transfer codings": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
            "two hosts": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
        }.items():
            if server.raw(request) not in (400, 501):
                return f"{what}: {server.raw(request)}"
        status = server.raw(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return None if status == 200 else f"HEAD /healthz: {status}"


def line_breaks(binary, folder):
    heard = []
    with Server(binary, folder, keys=None) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        def listen():
            listener.settimeout(8)
            try:
                while True:
                    peer, _ = listener.accept()
                    heard.append(peer.recv(65536))
                    peer.close()
            except OSError:
                pass
        ear = threading.Thread(target=listen, daemon=True)
        ear.start()
        at = f"http://127.0.0.1:{listener.getsockname()[1]}"
        sns = server.client("sns")
        topic = sns.create_topic(Name="t")["TopicArn"]
        for protocol, endpoint in (("http", f"{at}/x HTTP/1.1\r\nX-Injected: yes\r\nX: "), ("email", "a@b.example\nBcc: all@x.example"),
                                   ("email", "a@b.example\r\n\r\nbody")):
            try:
                sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
                return f"the {protocol} endpoint {endpoint!r} was taken"
            except ClientError as e:
                if e.response["Error"]["Code"] != "InvalidParameter":
                    return f"the refusal is {e}"
        events = server.client("events")
        try:
            events.create_connection(Name="c", AuthorizationType="API_KEY", AuthParameters={
                "ApiKeyAuthParameters": {"ApiKeyName": "k", "ApiKeyValue": "v"},
                "InvocationHttpParameters": {"HeaderParameters": [{"Key": "X", "Value": "a\r\nX-Injected: yes"}]}})
            return "a header value with a line break was taken"
        except ClientError:
            pass
        arn = events.create_connection(Name="c", AuthorizationType="API_KEY", AuthParameters={
            "ApiKeyAuthParameters": {"ApiKeyName": "k", "ApiKeyValue": "v"}})["ConnectionArn"]
        states = server.client("stepfunctions")
        role = "arn:aws:iam::000000000000:role/r"
        call = {"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": "arn:aws:states:::http:invoke", "End": True, "Parameters": {
            "ApiEndpoint": at, "Method": "GET", "Authentication": {"ConnectionArn": arn}, "Headers": {"X": "a\r\nX-Injected: yes"}}}}}
        lie = {"StartAt": "Lie", "States": {"Lie": {"Type": "Fail", "Error": "E\nforged line 1", "Cause": "c\nforged line 2\x1b[2J"}}}
        for name, definition in (("call", call), ("lie", lie)):
            machine = states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role)["stateMachineArn"]
            states.start_execution(stateMachineArn=machine)
        time.sleep(1.5)
        if any(b"X-Injected: yes" in request for request in heard):
            return f"a request has a header of the attacker's: {heard}"
        log = server.log_file.read_text(errors="replace")
        if any(line.startswith("forged") for line in log.split("\n")) or "\x1b[2J" in log:
            return "the log has lines of the attacker's"
    return None


ATTACKS = {
    "unsigned requests": unsigned,
    "a page of another site": csrf,
    "a name that resolves to this machine": rebinding,
    "a keys file that protects nothing": keys_file,
    "an open port without keys": anonymous_port,
    "signatures with gaps": signature_gaps,
    "temporary credentials": sessions,
    "pieces that were altered": pieces,
    "clients that do not read": blocked_reader,
    "more connections than descriptors": idle_connections,
    "requests that never end": half_open,
    "requests that are read in two ways": smuggling,
    "line breaks in what goes out": line_breaks,
}


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    chosen = sys.argv[2:] or list(ATTACKS)
    failed = 0
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            try:
                problem = ATTACKS[name](binary, pathlib.Path(folder))
            except Exception as e:  # a server that does not answer, or refuses what it must not
                problem = f"{type(e).__name__}: {e}"
        failed += problem is not None
        print(f"  {'held  ' if problem is None else 'BROKEN'} {name}{': ' + problem if problem else ''} ({time.monotonic() - begun:.1f} s)", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

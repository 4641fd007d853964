#!/usr/bin/env python3
"""The crash campaign: the real server under load, killed again and again, and nothing may be lost or done twice.

usage: run.py BINARY [--kills 200] [--seed 1] [--power-cuts [--library libsnapward_disk.so]]

With --power-cuts, first: a flush of SQLite's files that fails ends the process, and nothing acknowledged is missing afterwards. Then the disk loses its power each time: what was not flushed is there, or gone, sector by sector (power.py), and in some
lives a flush fails as on a broken disk.

Half of the kills are SIGKILL at a random moment; the others happen by themselves at a labelled place between decision, commit and
performance (src/base/crash_point.hpp). Everything that was acknowledged is written down here and checked, some of it after each
restart and all of it at the end:

  executions      every acknowledged StartExecution is there, succeeds, and its history has no gap or double; its message is in the queue
  events          every acknowledged PutEvents entry started exactly one execution
  notifications   every acknowledged Publish reached the HTTP subscriber
  snapshots       every acknowledged CreateSnapshot completes, is tagged, has one copy at most, a confirmed one; of each volume exactly the newest stay
  invocations     every acknowledged asynchronous Invoke of a function ran, and left its item
  logs, secrets   every acknowledged PutLogEvents is there; of a secret, the last acknowledged value or a later one
  backups         one made under load holds what was acknowledged before it
  tables          every acknowledged PutItem is there, and of an item written again and again the last acknowledged value or a later one
  schedules       the scheduled machine goes on running over the restarts

Exit code 0: no violation. Traffic stays on 127.0.0.1; time runs 20 times faster.
"""
import argparse
import base64
import collections
import http.client
import http.server
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import zipfile

import power

LABELS = ["decided", "committing", "committed", "applying", "keying", "performing", "performed", "delivering", "delivered", "answering"]
ACCOUNT, PRIMARY, DR = "000000000000", "us-west-2", "us-east-2"
RETENTION, VOLUMES = 5, 3

# Leaves an item that says that it ran. (What it prints may be lost with the process, as it may at AWS.)
FUNCTION = """
import json, os, urllib.request

def handler(event, context):
    scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-west-2/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
    headers = {"X-Amz-Target": "DynamoDB_20120810.PutItem", "Content-Type": "application/x-amz-json-1.0", "Authorization": scope}
    body = json.dumps({"TableName": "items", "Item": {"k": {"S": f"said {event['n']}"}}}).encode()
    urllib.request.urlopen(urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], body, headers), timeout=10).read()
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Refused(Exception):
    pass


class Client:
    """A client of one thread: unsigned requests with the scope that names service and region. OSError: no answer came."""

    TARGETS = {"states": "AWSStepFunctions", "events": "AWSEvents", "sqs": "AmazonSQS", "dynamodb": "DynamoDB_20120810", "logs": "Logs_20140328", "secretsmanager": "secretsmanager"}
    JSON_1_1 = {"events", "logs", "secretsmanager"}

    def __init__(self, port):
        self.port, self.connection = port, None

    def send(self, service, region, headers, body, path="/"):
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential=test/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            self.connection.request("POST", path, body, headers)
            response = self.connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as problem:
            self.connection = None
            raise OSError(str(problem)) from None
        if response.status not in (200, 201, 202):
            raise Refused(f"{service}: {response.status} {text[:300]}")
        return text

    def json(self, service, operation, region=PRIMARY, **parameters):
        version = "1.1" if service in self.JSON_1_1 else "1.0"
        headers = {"X-Amz-Target": f"{self.TARGETS[service]}.{operation}", "Content-Type": f"application/x-amz-json-{version}"}
        return json.loads(self.send(service, region, headers, json.dumps(parameters)) or "{}")

    def function(self, path, body, **headers):
        return self.send("lambda", PRIMARY, {"Content-Type": "application/json", **headers}, body, "/2015-03-31/functions" + path)

    def query(self, service, operation, region=PRIMARY, **parameters):
        version = {"ec2": "2016-11-15", "sns": "2010-03-31"}[service]
        body = urllib.parse.urlencode({"Action": operation, "Version": version, **parameters})
        return self.send(service, region, {"Content-Type": "application/x-www-form-urlencoded"}, body)


class Subscriber(http.server.BaseHTTPRequestHandler):
    received = collections.Counter()
    token = None

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if message["Type"] == "SubscriptionConfirmation":
            Subscriber.token = message["Token"]
        else:
            Subscriber.received[message["MessageId"]] += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server:
    def __init__(self, binary, data, port, disk):
        self.binary, self.data, self.port, self.disk, self.process = binary, data, port, disk, None
        self.starts, self.slowest, self.sectors_lost = 0, 0.0, 0

    def start(self, crash=None, fails=None):
        begun = time.time()
        env = dict(os.environ, **({"SNAPWARD_CRASH": crash} if crash else {}), **(self.disk.environment(fails) if self.disk else {}))
        command = [self.binary, "serve", "--data", self.data, "--port", str(self.port), "--time-scale", "20", "--no-throttling", "--log-level", "error",
                   "--retention", str(RETENTION)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if fails else None, text=True, env=env)
        ready = self.process.stdout.readline()
        self.starts += 1
        self.slowest = max(self.slowest, time.time() - begun)
        return "is ready" in ready  # else it died on the way up

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        if self.disk:
            self.sectors_lost += self.disk.cut_power()


def xml_all(text, tag):
    return re.findall(f"<{tag}>([^<]*)</{tag}>", text)


class Campaign:
    def __init__(self, binary, kills, seed, library):
        self.kills, self.random = kills, random.Random(seed)
        self.data = tempfile.mkdtemp(prefix="snapward-crash-")
        self.disk = power.Disk(self.data, library, seed) if library else None
        self.server = Server(binary, self.data, free_port(), self.disk)
        self.executions, self.events, self.messages = [], [], []  # acknowledged
        self.snapshots = []  # (volume, start, id), acknowledged
        self.items, self.large = [], 0  # acknowledged: keys, and the last number of the large item
        self.invocations, self.lines, self.secret = [], [], 0
        self.volumes = []
        self.backups = []  # (file, executions, items acknowledged before)
        self.stopping = False
        self.violations = []
        self.hits = collections.Counter()

    def violation(self, what):
        if what not in self.violations:
            self.violations.append(what)
            print(f"  VIOLATION {what}", flush=True)

    # ── The scene ──

    def set_the_scene(self):
        assert self.server.start()
        c = Client(self.server.port)
        self.queue = c.json("sqs", "CreateQueue", QueueName="done")["QueueUrl"]
        task = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True,
                "Parameters": {"QueueUrl": self.queue, "MessageBody.$": "$$.Execution.Name"}}
        states = {"Begin": {"Type": "Pass", "Next": "Both"},
                  "Both": {"Type": "Parallel", "Next": "Rest", "Branches": [
                      {"StartAt": "L", "States": {"L": {"Type": "Wait", "Seconds": 2, "End": True}}},
                      {"StartAt": "R", "States": {"R": {"Type": "Pass", "End": True}}}]},
                  "Rest": {"Type": "Wait", "Seconds": 3, "Next": "Say"}, "Say": task}
        role = f"arn:aws:iam::{ACCOUNT}:role/r"
        create = lambda name, definition: c.json("states", "CreateStateMachine", name=name, definition=json.dumps(definition), roleArn=role)["stateMachineArn"]
        self.machine = create("Work", {"StartAt": "Begin", "States": states})
        self.started = create("Started", {"StartAt": "P", "States": {"P": {"Type": "Wait", "Seconds": 1, "End": True}}})
        self.ticking = create("Ticking", {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
        c.json("events", "PutRule", Name="work", EventPattern=json.dumps({"source": ["work"]}))
        c.json("events", "PutTargets", Rule="work", Targets=[{"Id": "m", "Arn": self.started, "RoleArn": role}])
        c.json("events", "PutRule", Name="tick", ScheduleExpression="rate(1 minute)")
        c.json("events", "PutTargets", Rule="tick", Targets=[{"Id": "m", "Arn": self.ticking, "RoleArn": role}])
        c.json("dynamodb", "CreateTable", TableName="items", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
               AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}])
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("said.py", FUNCTION)
        c.function("", json.dumps({"FunctionName": "said", "Runtime": "python3.11", "Handler": "said.handler", "Role": role, "Timeout": 900, "Code": {"ZipFile": base64.b64encode(code.getvalue()).decode()}}))
        c.json("logs", "CreateLogGroup", logGroupName="group")
        c.json("logs", "CreateLogStream", logGroupName="group", logStreamName="stream")
        c.json("secretsmanager", "CreateSecret", Name="secret", SecretString="0")
        self.subscriber = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Subscriber)
        threading.Thread(target=self.subscriber.serve_forever, daemon=True).start()
        self.topic = xml_all(c.query("sns", "CreateTopic", Name="news"), "TopicArn")[0]
        c.query("sns", "Subscribe", TopicArn=self.topic, Protocol="http", Endpoint=f"http://127.0.0.1:{self.subscriber.server_port}/")
        while not Subscriber.token:
            time.sleep(0.01)
        c.query("sns", "ConfirmSubscription", TopicArn=self.topic, Token=Subscriber.token)
        for _ in range(VOLUMES):
            self.volumes += xml_all(c.query("ec2", "CreateVolume", AvailabilityZone=PRIMARY + "a", Size="1"), "volumeId")

    # ── The load: each thread does one kind of work, and writes down what was acknowledged ──

    def work(self, act):
        client, n = Client(self.server.port), 0
        while not self.stopping:
            n += 1
            try:
                act(client, n)
            except (OSError, Refused) as problem:
                if isinstance(problem, Refused):
                    self.refused += 1
                time.sleep(0.005)

    refused = 0

    def start_execution(self, client, n):
        name = f"w{threading.get_ident() % 10000}-{n}"
        arn = client.json("states", "StartExecution", stateMachineArn=self.machine, name=name, input=json.dumps({"n": n}))["executionArn"]
        self.executions.append((name, arn))
        time.sleep(0.004)

    def put_event(self, client, n):
        entries = [{"Source": "work", "DetailType": "t", "Detail": json.dumps({"n": n, "i": i})} for i in range(2)]
        self.events += [e["EventId"] for e in client.json("events", "PutEvents", Entries=entries)["Entries"]]
        time.sleep(0.01)

    def publish(self, client, n):
        self.messages += xml_all(client.query("sns", "Publish", TopicArn=self.topic, Message=f"news {n}"), "MessageId")
        time.sleep(0.01)

    def snapshot(self, client, n):
        made = client.query("ec2", "CreateSnapshot", VolumeId=self.volumes[n % VOLUMES])
        self.snapshots.append(tuple(xml_all(made, tag)[0] for tag in ("volumeId", "startTime", "snapshotId")))
        time.sleep(0.15)

    def put_item(self, client, n):
        if n % 4:
            key = f"{len(self.items)}-{n}"
            client.json("dynamodb", "PutItem", TableName="items", Item={"k": {"S": key}})
            self.items.append(key)
        else:  # so that the journal's files are filled again and again
            number = self.large + 1
            noise = base64.b64encode(self.random.randbytes(250_000)).decode()
            client.json("dynamodb", "PutItem", TableName="items", Item={"k": {"S": "large"}, "n": {"N": str(number)}, "noise": {"S": noise}})
            self.large = number
        time.sleep(0.01)

    def invoke(self, client, n):
        client.function("/said/invocations", json.dumps({"n": n}), **{"X-Amz-Invocation-Type": "Event"})
        self.invocations.append(n)
        time.sleep(0.1)

    def keep(self, client, n):
        line = f"line {n}"
        client.json("logs", "PutLogEvents", logGroupName="group", logStreamName="stream", logEvents=[{"timestamp": int(time.time() * 1000), "message": line}])
        self.lines.append(line)
        client.json("secretsmanager", "PutSecretValue", SecretId="secret", SecretString=str(n))
        self.secret = n
        time.sleep(0.02)

    def back_up(self):
        """A backup of the running server, and what was acknowledged before it."""
        file = os.path.join(self.data + "-backups", f"{len(self.backups)}.db")
        os.makedirs(os.path.dirname(file), exist_ok=True)
        before = len(self.executions), len(self.items)
        if subprocess.run([self.server.binary, "backup", file, "--data", self.data], capture_output=True).returncode == 0:
            self.backups.append((file, *before))

    # ── Killing ──

    def run(self):
        try:
            return self.campaign()
        except (Refused, OSError, AssertionError) as problem:  # what must be answered was not: of a server that lost something, for one
            self.violation(f"the server does not answer as it must: {type(problem).__name__} {problem}")
            return 1
        finally:
            self.server.process.kill()
            for folder in (self.data, self.data + "-backups"):
                shutil.rmtree(folder, ignore_errors=True)
            if self.disk:
                self.disk.remove()

    def campaign(self):
        begun = time.time()
        self.set_the_scene()
        threads = [threading.Thread(target=self.work, args=(act,), daemon=True) for act in (self.start_execution, self.start_execution, self.put_event, self.publish, self.snapshot, self.put_item, self.invoke, self.keep)]
        for t in threads:
            t.start()
        for n in range(self.kills):
            label = LABELS[n // 2 % len(LABELS)] if n % 2 else None
            self.server.kill()
            crash = f"{label}:{self.random.randint(1, 6 if label == 'keying' else 40)}" if label else None  # rare: at a start, and when the journal turns
            fails = None
            if self.disk and n % 4 == 0:  # SQLite's log most of all: that one is not written again
                fails = f"{self.random.choice(['snapward.db-wal'] * 4 + ['snapward.db', 'journal-0', 'journal-1'])}:{self.random.randint(1, 8)}"
                label = f"a flush of {fails.split(':')[0]} fails"
            while not self.server.start(crash, fails):  # it may be aimed at a place on the way up
                if not crash and not fails:
                    raise AssertionError("it does not start any more")
                self.hits[label] += 1
                self.server.kill()
                crash = fails = label = None
            self.spot_check()
            if n % 25 == 10:
                self.back_up()
            try:
                self.server.process.wait(2.0 if label else self.random.uniform(0.05, 0.5))
                self.hits[label] += 1
            except subprocess.TimeoutExpired:
                self.hits["at random" if not label else f"{label} not reached"] += 1
            if (n + 1) % 20 == 0:
                print(f"  {n + 1} kills, {len(self.executions)} executions, {len(self.events)} events, {len(self.messages)} notifications, "
                      f"{len(self.snapshots)} snapshots acknowledged, {len(self.violations)} violations", flush=True)
        self.server.kill()
        if not self.server.start():
            raise AssertionError("it does not start any more")
        self.stopping = True
        for t in threads:
            t.join()
        self.check_all()
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(20)
        size = sum(os.path.getsize(os.path.join(self.data, f)) for f in os.listdir(self.data))
        places = ", ".join(f"{k} {v}" for k, v in sorted(self.hits.items(), key=str))
        print(f"{self.kills} kills in {time.time() - begun:.0f} s ({places}); slowest start {self.server.slowest * 1000:.0f} ms, {size >> 20} MiB of state, "
              f"{self.refused} requests refused, {self.server.sectors_lost} sectors lost; {len(self.violations)} violations")
        return 1 if self.violations else 0

    def spot_check(self):
        """The latest acknowledged things are there."""
        client = Client(self.server.port)
        try:
            for name, arn in self.executions[-3:]:
                self.present(client, name, arn)
            for _, _, snapshot in self.snapshots[-1:]:
                client.query("ec2", "DescribeSnapshots", **{"SnapshotId.1": snapshot})
        except OSError:
            pass  # it died again; the end's check sees all
        except Refused as problem:
            self.violation(f"an acknowledged snapshot is gone: {problem}")

    def present(self, client, name, arn):
        try:
            return client.json("states", "DescribeExecution", executionArn=arn)
        except Refused as problem:
            self.violation(f"the acknowledged execution {name} is gone: {problem}")
            return None

    # ── The end ──

    def listed(self, client, machine):
        out, token = [], None
        while True:
            page = client.json("states", "ListExecutions", stateMachineArn=machine, maxResults=1000, **({"nextToken": token} if token else {}))
            out += page["executions"]
            token = page.get("nextToken")
            if not token:
                return out

    def check_all(self):
        client = Client(self.server.port)
        primary_machine = f"arn:aws:states:{PRIMARY}:{ACCOUNT}:stateMachine:SnapshotManagement"
        dr_machine = f"arn:aws:states:{DR}:{ACCOUNT}:stateMachine:SnapshotManagement"
        client.json("events", "DisableRule", Name="tick")
        end = time.time() + 120
        while time.time() < end:  # all at rest
            running = [e for m, r in ((self.machine, PRIMARY), (self.started, PRIMARY), (primary_machine, PRIMARY), (dr_machine, DR))
                       for e in client.json("states", "ListExecutions", region=r, stateMachineArn=m, statusFilter="RUNNING")["executions"]]
            pending = re.findall("<status>pending", client.query("ec2", "DescribeSnapshots", **{"Owner.1": "self"}))
            pending += re.findall("<status>pending", client.query("ec2", "DescribeSnapshots", region=DR, **{"Owner.1": "self"}))
            if not running and not pending:
                break
            time.sleep(0.3)
        else:
            self.violation(f"{len(running)} executions and {len(pending)} snapshots never came to rest, such as {running[:1]}")
        time.sleep(1)
        for name, arn in self.executions:
            shown = self.present(client, name, arn)
            if shown and shown["status"] != "SUCCEEDED":
                self.violation(f"{name} is {shown['status']}: {shown.get('error')} {shown.get('cause')}")
        for name, arn in self.random.sample(self.executions, min(400, len(self.executions))):
            history = client.json("states", "GetExecutionHistory", executionArn=arn, maxResults=1000)["events"]
            if [e["id"] for e in history] != list(range(1, len(history) + 1)) or history[-1]["type"] != "ExecutionSucceeded":
                self.violation(f"the history of {name} has a gap or a double: {[(e['id'], e['type']) for e in history]}")
        said = collections.Counter()
        while True:
            batch = client.json("sqs", "ReceiveMessage", QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
            if not batch:
                break
            said.update(m["Body"] for m in batch)
            client.json("sqs", "DeleteMessageBatch", QueueUrl=self.queue, Entries=[{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(batch)])
        for name, _ in self.executions:
            if not said[name]:
                self.violation(f"the execution {name} succeeded without its message")
        by_event = collections.Counter(e["name"].split("_")[0] for e in self.listed(client, self.started))
        for event in self.events:
            if by_event[event] != 1:
                self.violation(f"the event {event} started {by_event[event]} executions")
        for message in self.messages:
            if not Subscriber.received[message]:
                self.violation(f"the notification {message} reached nobody")
        said_items, end = {f"said {n}" for n in self.invocations}, time.time() + 60
        kept = self.scanned(client)
        while not said_items <= set(kept) and time.time() < end:  # invocations under way
            time.sleep(0.3)
            kept = self.scanned(client)
        for key in sorted(said_items - set(kept)):
            self.violation(f"an invocation never ran: there is no item '{key}'")
        for key in self.items:
            if key not in kept:
                self.violation(f"the item {key} is gone")
        if self.large and int(kept.get("large", {"n": {"N": "0"}})["n"]["N"]) < self.large:
            self.violation(f"the large item is not number {self.large}")
        self.check_lines(client)
        value = int(client.json("secretsmanager", "GetSecretValue", SecretId="secret")["SecretString"])
        if value < self.secret:
            self.violation(f"the secret has the value {value}, acknowledged was {self.secret}")
        for file, executions, items in self.backups:
            self.check_backup(file, executions, items)
        ticks = len(self.listed(client, self.ticking))
        if ticks < self.server.starts / 20:
            self.violation(f"the schedule ran {ticks} times in {self.server.starts} lives of the server")
        self.check_snapshots(client)
        again = {k: sum(1 for v in c.values() if v > 1) for k, c in (("messages", said), ("notifications", Subscriber.received))}
        print(f"  at the end: {len(self.executions)} executions, {len(self.events)} events, {len(self.messages)} notifications, {len(self.snapshots)} snapshots, "
              f"{len(self.items)} items, {len(self.invocations)} invocations, {len(self.lines)} lines, {len(self.backups)} backups checked; {ticks} ticks; at-least-once twice: {again}")

    def scanned(self, client):
        kept, start = {}, {}
        while True:
            page = client.json("dynamodb", "Scan", TableName="items", **start)
            kept.update((item["k"]["S"], item) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return kept
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def check_lines(self, client):
        found, token = set(), None
        while True:
            page = client.json("logs", "FilterLogEvents", logGroupName="group", limit=10000, **({"nextToken": token} if token else {}))
            found.update(e["message"].strip() for e in page["events"])
            token = page.get("nextToken")
            if not token:
                break
        for line in sorted(set(self.lines) - found):
            self.violation(f"the line '{line}' is not in the log")

    def check_backup(self, file, executions, items):
        folder, port = file + "-restored", free_port()
        if subprocess.run([self.server.binary, "restore", file, "--data", folder], capture_output=True).returncode != 0:
            return self.violation(f"the backup {file} cannot be restored")
        restored = Server(self.server.binary, folder, port, None)
        if not restored.start():
            return self.violation(f"a server does not start on the backup {file}")
        client = Client(port)
        for name, arn in self.executions[:executions]:
            self.present(client, f"{name} (in a backup)", arn)
        for key in self.items[:items]:
            if "Item" not in client.json("dynamodb", "GetItem", TableName="items", Key={"k": {"S": key}}):
                self.violation(f"the item {key} is not in the backup")
        restored.kill()

    def check_snapshots(self, client):
        def described(region):
            text = client.query("ec2", "DescribeSnapshots", region=region, **{"Owner.1": "self"})
            items = re.split(r"<item><(?=description|snapshotId|ownerId|encrypted|volumeId|status|tagSet|startTime|progress|storageTier|completionTime|full|transferType|kms|data)", text)
            return [i for i in items if "<snapshotId>" in i]

        copies = collections.Counter()
        for item in described(DR):
            source = re.search(r"<key>snapward:source</key><value>([^<]*)", item) or re.search(r"<value>([^<]*)</value><key>snapward:source", item)
            if source and "<status>error" not in item:
                copies[source.group(1)] += 1
        for source, n in copies.items():
            if n > 1:
                self.violation(f"{source} has {n} copies")
        left = collections.defaultdict(list)
        for item in described(PRIMARY):
            snapshot, volume, start = (xml_all(item, t)[0] for t in ("snapshotId", "volumeId", "startTime"))
            left[volume].append((start, snapshot))
            if "AutomatedSnapName" not in item:
                self.violation(f"{snapshot} was never tagged")
            if not re.search(r"snapward:copy-state</key><value>completed|<value>completed</value><key>snapward:copy-state", item):
                self.violation(f"{snapshot} has no confirmed copy")
        for volume in self.volumes:
            if len(left[volume]) != RETENTION:
                self.violation(f"{volume} has {len(left[volume])} snapshots, {RETENTION} are to be kept")
        for volume, start, snapshot in self.snapshots:
            if (start, snapshot) not in left[volume] and start > min(left[volume])[0]:
                self.violation(f"{snapshot} of {volume}, begun {start}, was deleted, and older ones were kept: {sorted(left[volume])}")


def broken_flushes(binary, library):
    """One flush of SQLite's files fails: the process must end by itself, whatever a later flush says, and the next one has everything."""
    wrong = 0
    machine = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    for file, nth in (("snapward.db-wal", 1), ("snapward.db-wal", 6)):
        data = tempfile.mkdtemp(prefix="snapward-flush-")
        disk = power.Disk(data, library, nth)
        server = Server(binary, data, free_port(), disk)
        try:
            assert server.start()
            made = Client(server.port).json("states", "CreateStateMachine", name="m", definition=machine, roleArn=f"arn:aws:iam::{ACCOUNT}:role/r")["stateMachineArn"]
            server.kill()
            alive = server.start(fails=f"{file}:{nth}")
            client, acknowledged, end = Client(server.port), [], time.time() + 60
            while alive and server.process.poll() is None and time.time() < end:
                try:
                    acknowledged.append(client.json("states", "StartExecution", stateMachineArn=made, input=json.dumps({"pad": "x" * 20000}))["executionArn"])
                except (OSError, Refused):
                    pass
            try:
                ended = server.process.wait(60 if not alive else 0)  # it may have died on the way up, and not be gone yet
            except subprocess.TimeoutExpired:
                ended = None
            server.kill()
            whole = server.start()
            there = {e["executionArn"] for e in Campaign.listed(None, Client(server.port), made)} if whole else set()
            good = ended not in (None, 0, -9) and set(acknowledged) <= there
            wrong += not good
            print(f"  {'ok       ' if good else 'VIOLATION'} flush {nth} of {file} fails: the process ended with {ended} after {len(acknowledged)} acknowledged, {len(set(acknowledged) - there)} missing afterwards", flush=True)
        except (Refused, OSError, AssertionError) as problem:
            wrong += 1
            print(f"  VIOLATION flush {nth} of {file}: the server does not answer as it must: {type(problem).__name__} {problem}", flush=True)
        finally:
            server.process.kill()
            shutil.rmtree(data, ignore_errors=True)
            disk.remove()
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--power-cuts", action="store_true")
    parser.add_argument("--library", help="what is preloaded for them [libsnapward_disk.so beside BINARY]")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    library = os.path.abspath(options.library or os.path.join(os.path.dirname(binary), "libsnapward_disk.so"))
    if options.power_cuts and broken_flushes(binary, library):
        sys.exit(1)
    sys.exit(Campaign(binary, options.kills, options.seed, library if options.power_cuts else None).run())


if __name__ == "__main__":
    main()

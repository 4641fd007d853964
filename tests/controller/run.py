#!/usr/bin/python3
"""The controller over an account: one process is AWS (the local cloud without workflows, which checks signatures, throttles, fails and tells
things twice), another `snapward controller`, which knows its endpoint and keys and nothing else. It is killed, frozen, kept away and cut off.

usage: run.py SNAPWARD        prints a line a check, then "N passed, N failed"; exit code 0 when all passed
With SNAPWARD_TEST_POSTGRES set (tests/nodes/postgres.py), two controllers on one database too.
"""
import asyncio
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

root = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(root / "tests/support"))
from stock import Server, check, client, finish, free_port, until  # noqa: E402

Server.binary = os.path.abspath(sys.argv[1])
PRIMARY, DR, ACCOUNT = "us-west-2", "us-east-2", "111122223333"
KEY, SECRET = "AKIAEXAMPLE", "an/example+secret"
MACHINE = f"arn:aws:states:{{}}:{ACCOUNT}:stateMachine:SnapshotManagement"
folder = pathlib.Path(tempfile.mkdtemp(prefix="snapward-controller-"))


class Tls(threading.Thread):
    """HTTPS in front of a port that has none, as AWS has: a certificate of its own, connections that are kept and counted."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.certificate = folder / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
                        "-keyout", folder / "key.pem", "-out", self.certificate], check=True, capture_output=True)
        self.behind, self.connections, self.requests, self.begun = port, 0, 0, threading.Event()
        self.start()
        self.begun.wait(10)

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.behind)
        except OSError:
            return writer.close()

        async def pipe(source, sink, requests):
            try:
                while data := await source.read(65536):
                    self.requests += requests and data.count(b"POST / HTTP/1.1\r\n")
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            sink.close()

        await asyncio.gather(pipe(reader, inner_writer, True), pipe(inner_reader, writer, False))

    def run(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "key.pem")

        async def work():
            server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=context)
            self.port = server.sockets[0].getsockname()[1]
            self.begun.set()
            async with server:
                await server.serve_forever()

        asyncio.run(work())


class Account:
    """What the controller takes for AWS. Others than the controller need no TLS."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    tls = None

    def __init__(self, **behaviour):
        (folder / "keys.json").write_text(json.dumps({KEY: SECRET}))
        (folder / "behaviour.json").write_text(json.dumps({"throttling": False, "snapshot_overhead_seconds": 0.2, "copy_overhead_seconds": 0.5, **behaviour}))
        self.server = Server("--no-workflows", "--account", ACCOUNT, "--data", str(folder / "aws"), "--access-keys", str(folder / "keys.json"),
                             "--behaviour", str(folder / "behaviour.json"), "--log-level", "error", port=self.port)

    def client(self, service, region=PRIMARY):
        return client(service, self.url, region, KEY, SECRET, retries=9)  # it fails often, by behaviour

    def snapshots(self, region):
        return self.client("ec2", region).describe_snapshots(OwnerIds=["self"])["Snapshots"]


def surroundings(keys=(KEY, SECRET), certificate=None):
    return {"AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1], "AWS_ENDPOINT_URL": f"https://localhost:{Account.tls.port}", "AWS_EC2_METADATA_DISABLED": "true",
            "SSL_CERT_FILE": str(certificate or Account.tls.certificate), "HOME": str(folder), "AWS_PROFILE": ""}


def controller(*arguments, port=None, keys=(KEY, SECRET), **how):
    return Server("--tag", "none", "--retention", "2", "--dr-retention", "1", *arguments, command="controller", port=port, env=surroundings(keys), **how)


def refused(*arguments, **how):
    """What a controller that does not begin says, and its exit code."""
    log = open(folder / "refused.log", "w+")
    process = controller(*arguments, stderr=log, **how).process
    code = process.wait(20)
    log.seek(0)
    return code, log.read()


def tags(snapshot):
    return {t["Key"]: t["Value"] for t in snapshot.get("Tags", [])}


def copies_of(account, snapshot):
    return [s for s in account.snapshots(DR) if tags(s).get("snapward:source") == f"{PRIMARY}/{snapshot}"]


def managed(account, snapshot):
    """Whether a snapshot is through: its copy confirmed, and tagged in the DR region, or pruned there."""
    mine = [s for s in account.snapshots(PRIMARY) if s["SnapshotId"] == snapshot]
    return mine and tags(mine[0]).get("snapward:copy-state") == "completed" and all("OriginalVolumeId" in tags(c) for c in copies_of(account, snapshot))


def executions(at, region, status=None):
    listed = client("stepfunctions", at.url, region).list_executions(stateMachineArn=MACHINE.format(region), **({"statusFilter": status} if status else {}))
    return listed["executions"]


def at_rest(at):
    return until(lambda: not executions(at, PRIMARY, "RUNNING") and not executions(at, DR, "RUNNING"), 90, 0.3)


def figure(at, line):
    text = urllib.request.urlopen(at.url + "/metrics", timeout=10).read().decode()
    return next((float(l.rsplit(" ", 1)[1]) for l in text.splitlines() if l.startswith(line + " ")), None)


def queue(account, region=PRIMARY):
    return account.client("sqs", region).get_queue_url(QueueName="snapward-events")["QueueUrl"]


def begins_only_when_it_can(account):
    code, said = refused("--data", str(folder / "none"), keys=("", ""))
    check("without credentials it says where it looked", code == 1 and "no credentials for AWS" in said, said)
    code, said = refused("--data", str(folder / "none"), keys=(KEY, "wrong"))
    check("with wrong ones it says what AWS said", code == 1 and "SignatureDoesNotMatch" in said, said)
    stranger = subprocess.Popen([Server.binary, "controller", "--tag", "none", "--data", str(folder / "none")], env=surroundings(certificate="/dev/null"), stderr=subprocess.PIPE, text=True)
    said = stranger.stderr.readline()
    stranger.kill()
    check("it does not talk to who has no certificate that it trusts", "no TLS session" in said and "certificate verify failed" in said, said)
    unsaid = subprocess.run([Server.binary, "controller"], env=surroundings(), capture_output=True, text=True, timeout=20)
    check("which volumes must be said", unsaid.returncode == 1 and "say which volumes are to be managed" in unsaid.stderr, unsaid.stderr)
    code, said = refused("--data", str(folder / "none"), "--dr-region", "us-moon-1")
    check("a region must be one", code == 1 and "'us-moon-1' is not an AWS region" in said, said)


def looks_after_snapshots(account, at):
    said = at.process.stdout.readline() + at.process.stdout.readline()
    check("it says whose account it acts on, and since when", f"acts on the account {ACCOUNT}" in said and "are left alone (--adopt" in said, said)
    volume = account.client("ec2").create_volume(AvailabilityZone=PRIMARY + "a", Size=1)["VolumeId"]
    until(lambda: figure(at, f'snapward_feed_well{{region="{DR}"}}') == 1)
    topics = account.client("sns").list_topics()["Topics"]
    check("the topic for errors is in the account", any(t["TopicArn"].endswith(":SnapshotMgmtTopic") for t in topics), topics)
    machines = account.client("stepfunctions").list_state_machines()["stateMachines"]
    check("no machine is", not machines, machines)
    begun = time.time()
    taken = []
    for number in range(3):
        taken.append(account.client("ec2").create_snapshot(VolumeId=volume)["SnapshotId"])
        check(f"snapshot {number + 1} is tagged, copied and confirmed", until(lambda: managed(account, taken[-1]), 60), account.snapshots(PRIMARY))
        at_rest(at)
    print(f"         {(time.time() - begun) / 3:.1f} s each, 15 of them the workflow's wait for the copy")
    kept = {s["SnapshotId"] for s in account.snapshots(PRIMARY)}
    check("two are kept, and one copy", kept == set(taken[1:]) and len(account.snapshots(DR)) == 1, (kept, taken))
    check("connections to the account are kept", Account.tls.requests > 60 and Account.tls.connections < Account.tls.requests / 4, (Account.tls.connections, Account.tls.requests))
    print(f"         {Account.tls.requests} requests over {Account.tls.connections} connections")
    check("all executions succeeded", len(executions(at, PRIMARY, "SUCCEEDED")) == 3 and len(executions(at, DR, "SUCCEEDED")) == 3, executions(at, PRIMARY))
    return volume, taken


def shows_and_guards(at):
    arn = executions(at, PRIMARY)[0]["executionArn"]
    history = client("stepfunctions", at.url).get_execution_history(executionArn=arn)["events"]
    check("histories are read at its port", history[0]["type"] == "ExecutionStarted" and len(history) > 20)
    codes = []
    for service, operation, arguments in (("ec2", "delete_snapshot", {"SnapshotId": "snap-00000000000000000"}), ("ec2", "describe_snapshots", {}),
                                          ("stepfunctions", "update_state_machine", {"stateMachineArn": MACHINE.format(PRIMARY), "definition": "{}"}),
                                          ("lambda", "invoke", {"FunctionName": "snapward-prune-snapshots"}), ("sns", "list_topics", {}), ("sqs", "list_queues", {})):
        try:
            getattr(client(service, at.url), operation)(**arguments)
            codes.append("accepted")
        except Exception as refusal:
            codes.append(refusal.response["Error"]["Code"])
    check("nothing in the account is reached or changed through its port",
          codes == ["UnauthorizedOperation", "UnauthorizedOperation", "AccessDeniedException", "AccessDeniedException", "AuthorizationError", "AccessDeniedException"], codes)


def takes_events_once(account, at, volume, snapshot):
    before = len(executions(at, PRIMARY))
    event = {"version": "0", "id": "11111111-2222-3333-4444-555555555555", "detail-type": "EBS Snapshot Notification", "source": "aws.ec2", "account": ACCOUNT,
             "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "region": PRIMARY, "resources": [],
             "detail": {"event": "createSnapshot", "result": "succeeded", "cause": "", "snapshot_id": f"arn:aws:ec2::{PRIMARY}:snapshot/{snapshot}",
                        "source": f"arn:aws:ec2::{PRIMARY}:volume/{volume}", "startTime": "2026-01-01T00:00:00Z"}}
    sqs = account.client("sqs")
    for body in [json.dumps(event)] * 3 + ["no event"]:
        sqs.send_message(QueueUrl=queue(account), MessageBody=body)
    until(lambda: figure(at, f'snapward_feed_dropped_total{{region="{PRIMARY}"}}') == 1)
    at_rest(at)
    check("an event that is there three times is one execution", len(executions(at, PRIMARY)) == before + 1, executions(at, PRIMARY))
    check("and no second copy", len(copies_of(account, snapshot)) == 1)
    check("what is no event is dropped", figure(at, f'snapward_feed_dropped_total{{region="{PRIMARY}"}}') == 1)


def tells_of_errors(account, at):
    sqs, sns = account.client("sqs", DR), account.client("sns", DR)
    told = sqs.create_queue(QueueName="told")["QueueUrl"]
    sns.subscribe(TopicArn=f"arn:aws:sns:{DR}:{ACCOUNT}:SnapshotMgmtTopic", Protocol="sqs", Endpoint=f"arn:aws:sqs:{DR}:{ACCOUNT}:told")
    copy = account.snapshots(DR)[0]
    event = {"version": "0", "id": "99999999-2222-3333-4444-555555555555", "detail-type": "EBS Snapshot Notification", "source": "aws.ec2", "account": ACCOUNT, "region": DR,
             "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "resources": [],
             "detail": {"event": "copySnapshot", "result": "failed", "cause": "Source snapshot ID is not accessible", "snapshot_id": f"arn:aws:ec2::{DR}:snapshot/{copy['SnapshotId']}",
                        "source": f"arn:aws:ec2::{PRIMARY}:snapshot/snap-00000000000000000", "startTime": "2026-01-01T00:00:00Z"}}
    sqs.send_message(QueueUrl=queue(account, DR), MessageBody=json.dumps(event))
    check("a failed copy ends its execution FAILED", until(lambda: executions(at, DR, "FAILED")), executions(at, DR))
    messages = until(lambda: sqs.receive_message(QueueUrl=told).get("Messages"), 20)
    check("and the account's topic tells of it", messages and "Snapshot Management Error" in messages[0]["Body"], messages)


def state_belongs_to_an_account(account):
    other = Server("--data", str(folder / "state"), stderr=subprocess.PIPE)
    said = other.process.communicate(timeout=20)[1]
    check("a local cloud does not go on with a controller's state", other.process.returncode == 1 and f"a controller's, of the account {ACCOUNT}" in said, said)
    local = Server("--data", str(folder / "local"), "--no-workflows")
    local.stop()
    code, said = refused("--data", str(folder / "local"))
    check("nor a controller with a local cloud's", code == 1 and "this state is a local cloud's" in said, said)


def survives(account, volume):
    """Killed, away, frozen and cut off, while snapshots are taken of a cloud that fails and repeats itself."""
    ec2 = account.client("ec2")
    port = free_port()
    at = controller("--data", str(folder / "state"), port=port, stderr=open(folder / "controller.log", "a"))
    volumes = [volume] + [ec2.create_volume(AvailabilityZone=PRIMARY + "a", Size=1)["VolumeId"] for _ in range(3)]
    newest = {}

    def snap():
        for v in volumes:
            newest[v] = ec2.create_snapshot(VolumeId=v)["SnapshotId"]

    snap()
    time.sleep(1.5)
    at.stop(signal.SIGKILL)
    snap()  # while it is away
    time.sleep(16)  # longer than EC2 takes to show what was asked for (docs/simulation.md)
    at = controller("--data", str(folder / "state"), port=port, stderr=open(folder / "controller.log", "a"))
    time.sleep(2)
    at.process.send_signal(signal.SIGSTOP)
    snap()
    time.sleep(3)
    at.process.send_signal(signal.SIGCONT)
    account.server.stop()  # cut off
    time.sleep(3)
    cut = figure(at, f'snapward_feed_well{{region="{PRIMARY}"}}')
    check("it says that it is cut off", cut == 0, cut)
    account.server = Account(duplicate_event=0.5, fail_throttle=0.1, fail_call=0.05).server
    ec2 = account.client("ec2")
    check("and goes on when it is not", until(lambda: figure(at, f'snapward_feed_well{{region="{PRIMARY}"}}') == 1, 70))
    for v in volumes:
        until(lambda: newest.update({v: ec2.create_snapshot(VolumeId=v)["SnapshotId"]}) is None, 5)
    check("every newest snapshot has its copy", until(lambda: all(managed(account, s) for s in newest.values()), 180, 0.5), newest)
    at_rest(at)
    doubles = [c for c in {tags(s).get("snapward:source") for s in account.snapshots(DR)} if len(copies_of(account, c.split("/")[1])) > 1]
    check("none was copied twice", not doubles, doubles)

    def kept(v):
        here = sorted((s for s in account.snapshots(PRIMARY) if s["VolumeId"] == v), key=lambda s: s["StartTime"])
        there = [s for s in account.snapshots(DR) if tags(s).get("OriginalVolumeId") == v]
        return len(here) == 2 and here[-1]["SnapshotId"] == newest[v] and [tags(s)["snapward:source"] for s in there] == [f"{PRIMARY}/{newest[v]}"]

    check("two of each volume are kept and a copy, the newest ones", until(lambda: all(map(kept, volumes)), 60, 0.5),
          [(s["VolumeId"], s["SnapshotId"], tags(s)) for r in (PRIMARY, DR) for s in account.snapshots(r)])
    failed = executions(at, PRIMARY, "FAILED")
    check("and no execution failed for it", not failed, [client("stepfunctions", at.url).describe_execution(executionArn=e["executionArn"]) for e in failed])
    left = [account.client("sqs", r).get_queue_attributes(QueueUrl=queue(account, r), AttributeNames=["All"])["Attributes"] for r in (PRIMARY, DR)]
    check("the queues are empty", until(lambda: all(account.client("sqs", r).get_queue_attributes(QueueUrl=queue(account, r), AttributeNames=["All"])["Attributes"][n] == "0"
                                                    for r in (PRIMARY, DR) for n in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")), 20), left)
    begun = time.time()
    at.stop()
    check("it stops at once, although it waits for events", time.time() - begun < 3, time.time() - begun)


def two_on_a_database(account, volume, url):
    first, second = (controller("--store", url, "--lease-seconds", "2") for _ in range(2))
    alive = until(lambda: [c for c in (first, second) if figure(c, f'snapward_feed_well{{region="{PRIMARY}"}}') == 1][:1], 20)
    check("one of two controllers on a database works", alive)
    other = second if alive[0] is first else first
    alive[0].stop(signal.SIGKILL)
    snapshot = account.client("ec2").create_snapshot(VolumeId=volume)["SnapshotId"]
    check("the other takes over", until(lambda: managed(account, snapshot), 90, 0.3), account.snapshots(PRIMARY))
    check("and copies once", len(copies_of(account, snapshot)) == 1)
    other.stop()


def reports(account):
    """What `snapward report` says of the account, and of one whose copies somebody deletes."""
    env = dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_ENDPOINT_URL=Account.url)

    def report(*arguments):
        run = subprocess.run([Server.binary, "report", "--aws", *arguments], env=env, capture_output=True, text=True)
        return run.returncode, run.stdout, run.stderr

    code, said, wrong = report("--json")
    volumes = json.loads(said)["volumes"] if said else []
    check("a report says that all volumes are protected", code == 0 and len(volumes) == 4 and all(v["good"] and v["snapshots"] == 2 and v["copies"] == 1 for v in volumes), said + wrong)
    code, said, _ = report("--rpo", "1s", "--min-miles", "2000")
    check("and what is missed", code == 2 and "are about 1884 miles apart; 2000 are asked for" in said and said.count("its newest snapshot is") == 4, said)
    for copy in account.snapshots(DR):
        account.client("ec2", DR).delete_snapshot(SnapshotId=copy["SnapshotId"])
    code, said, _ = report()
    check("and that a copy is gone", code == 2 and said.count("was confirmed and is not there any more") == 4, said)


def allows_what_it_calls():
    """The policy in docs/controller.md, against the calls that the sources make."""
    text = (root / "docs/controller.md").read_text()
    policy = json.loads(text[text.index('{"Version"'):text.index("```", text.index('{"Version"'))])
    allowed = {a for s in policy["Statement"] for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    calls = set()
    for file in ("src/snapshots/tasks.cpp", "src/cloud/ec2.cpp", "src/controller/feed.cpp", "src/cli/controller.cpp"):
        calls |= {f"{service}:{operation}" for service, operation in re.findall(r'call\(\{"(\w+)", [^"]+, "(\w+)"', (root / file).read_text())}
    calls = {c.removesuffix("Batch") for c in calls if not c.startswith("states:")} | {"sns:CreateTopic"}
    check("the documented policy allows what a controller calls, and no more", allowed == calls, allowed ^ calls)


def removes(account):
    env = dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_ENDPOINT_URL=Account.url)
    for how in ("what it made is taken away", "and taking away nothing is no error"):
        run = subprocess.run([Server.binary, "controller", "--remove"], env=env, capture_output=True, text=True)
        check(how, run.returncode == 0 and run.stdout.count("are removed") == 2, run.stdout + run.stderr)
    check("no queue, no rule is left", not account.client("sqs").list_queues().get("QueueUrls") and not account.client("events", DR).list_rules()["Rules"])


def main():
    account = Account()
    Account.tls = Tls(Account.port)
    try:
        allows_what_it_calls()
        begins_only_when_it_can(account)
        at = controller("--data", str(folder / "state"), stderr=open(folder / "controller.log", "a"))
        volume, taken = looks_after_snapshots(account, at)
        shows_and_guards(at)
        takes_events_once(account, at, volume, taken[-1])
        tells_of_errors(account, at)
        at.stop()
        state_belongs_to_an_account(account)
        survives(account, volume)
        reports(account)
        if url := os.environ.get("SNAPWARD_TEST_POSTGRES"):
            two_on_a_database(account, volume, url)
        removes(account)
    finally:
        account.server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    finish()


main()

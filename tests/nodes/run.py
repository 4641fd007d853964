#!/usr/bin/python3
"""Several nodes on one PostgreSQL, under load: killed, frozen past their lease, cut off from the network, restarted one after another.
Nothing acknowledged may be lost or done twice, whichever node was asked.

usage: run.py BINARY [--only NAME,...] [--rounds N] [--throughput LOAD_BINARY]
Names: answers, kill, freeze, rolling, database, whole, partition. Everything stays on this machine: the loopback, and for `partition` network
namespaces of the test's own (skipped where they cannot be made).
"""
import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import boto3
import botocore.config
import botocore.exceptions

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent / "support")]
from postgres import Postgres  # noqa: E402
from stock import check, finish, free_port, results, until  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("binary")
parser.add_argument("--only", default="answers,kill,freeze,rolling,database,whole,partition")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--throughput", metavar="LOAD_BINARY")
parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
options = parser.parse_args()
binary = os.path.abspath(options.binary)

LEASE = 3.0  # seconds; machines that run tests stand still for one or two
SHARDS = {"us-east", "us-west", "eu", "ap"}
LOADED = "us-west"  # the shard of the region that the load is for; its copies go to one of us-east


class Node:
    """`where` is a network namespace and an address, or nothing for the loopback."""

    def __init__(self, store, folder, where=None, more=()):
        self.more = more
        self.namespace, self.address = where or (None, "127.0.0.1")
        self.store, self.folder, self.port = store, folder, free_port()
        self.url = f"http://{self.address}:{self.port}"
        self.start()

    def start(self):
        self.log = open(f"{self.folder}/node-{self.port}.log", "a")
        enter = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        self.process = subprocess.Popen([*enter, binary, "serve", "--store", self.store, "--host", self.address, "--allow-anonymous", "--port", str(self.port), "--lease-seconds", str(LEASE), "--time-scale", "20", "--no-throttling",
                                         "--tag", "Backup", "--retention", "100", "--dr-retention", "100", *self.more], stdout=self.log, stderr=self.log, cwd=self.folder)

    def signal(self, what):
        self.process.send_signal(what)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def logged(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def get(self, path, seconds=0.5):
        try:
            with urllib.request.urlopen(self.url + path, timeout=seconds) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def shards(self):
        """Those it owns."""
        return set(re.findall(r'^snapward_owner\{shard="([^"]+)"\} 1$', self.get("/metrics"), re.M))

    def owns(self, shard=LOADED):
        return shard in self.shards()

    def client(self, service, region="us-west-2", attempts=0):
        config = botocore.config.Config(retries={"max_attempts": attempts}, connect_timeout=1, read_timeout=LEASE * 3)
        return boto3.client(service, endpoint_url=self.url, region_name=region, aws_access_key_id="test", aws_secret_access_key="test", config=config)


class Cluster:
    def __init__(self, folder, postgres, places=(None, None, None), more=()):
        self.postgres = postgres
        self.nodes = [Node(postgres.url, folder, place, more) for place in places]

    def owner(self, seconds=15):
        return until(lambda: next((n for n in self.nodes if n.owns()), None), seconds)

    def shares(self):
        """How many shards each node owns, fewest first; nothing while one has no owner."""
        shards = [n.shards() for n in self.nodes if n.process.poll() is None]
        return sorted(len(s) for s in shards) if set().union(*shards) == SHARDS and sum(map(len, shards)) == len(SHARDS) else []

    def settled(self, seconds=20):
        """Shared evenly, and every shard open."""
        def well():
            shares = self.shares()
            return shares and shares[-1] - shares[0] < 2 and all(n.get("/readyz") == "ok\n" for n in self.nodes if n.process.poll() is None)

        return until(well, seconds)

    def stop(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.signal(signal.SIGCONT)
                node.signal(signal.SIGTERM)
        for node in self.nodes:
            try:
                node.process.wait(15)
            except subprocess.TimeoutExpired:
                node.kill()


MACHINE = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "W"}, "W": {"Type": "Wait", "Seconds": 2, "Next": "B"}, "B": {"Type": "Pass", "End": True}}})


class Load:
    """Clients that ask the nodes in turn, and remember what was acknowledged. Each asks again, elsewhere, until it is."""

    def __init__(self, cluster, clients=4):
        cluster.settled()
        self.cluster, self.stopping = cluster, threading.Event()
        self.acknowledged, self.snapshots, self.longest, self.refused = [], [], 0.0, 0
        self.lock = threading.Lock()
        sfn = cluster.owner().client("stepfunctions", attempts=5)
        self.machine = sfn.create_state_machine(name=f"load-{random.getrandbits(40)}", definition=MACHINE, roleArn="arn:aws:iam::000000000000:role/r")["stateMachineArn"]
        ec2 = cluster.owner().client("ec2", attempts=5)
        self.volume = ec2.create_volume(AvailabilityZone="us-west-2a", Size=1, TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "Backup", "Value": "yes"}]}])["VolumeId"]
        self.threads = [threading.Thread(target=self._executions, args=(i,)) for i in range(clients)] + [threading.Thread(target=self._snapshots)]
        for thread in self.threads:
            thread.start()

    def _asks(self, service):
        clients = [node.client(service) for node in self.cluster.nodes]
        turn = random.randrange(len(clients))

        def ask(call, done=None, once=False):
            nonlocal turn
            begun = time.time()
            while True:
                try:
                    answer = call(clients[turn % len(clients)])
                    break
                except botocore.exceptions.ClientError as e:
                    if done and e.response["Error"]["Code"] == done:
                        answer = True
                        break
                    if e.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                        raise
                except botocore.exceptions.BotoCoreError:
                    pass
                with self.lock:
                    self.refused += 1
                if once or self.stopping.is_set():
                    return None
                turn += 1
                time.sleep(0.05)
            with self.lock:
                self.longest = max(self.longest, time.time() - begun)
            return answer

        return ask

    def _executions(self, number):
        ask = self._asks("stepfunctions")
        for n in range(1_000_000):
            if self.stopping.is_set():
                return
            name = f"e-{number}-{n}"
            if ask(lambda c: c.start_execution(stateMachineArn=self.machine, name=name, input="{}"), done="ExecutionAlreadyExists"):
                with self.lock:
                    self.acknowledged.append(name)

    def _snapshots(self):
        ask = self._asks("ec2")
        while not self.stopping.is_set():
            made = ask(lambda c: c.create_snapshot(VolumeId=self.volume), once=True)  # not safe to repeat
            if made:
                self.snapshots.append(made["SnapshotId"])
            time.sleep(0.3)

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def verify(self):
        """Asks whichever node for everything that was acknowledged."""
        self.cluster.settled()
        sfn = self.cluster.owner().client("stepfunctions", attempts=5)
        execution = self.machine.replace(":stateMachine:", ":execution:")

        def all_done():
            try:
                return {e["name"] for page in sfn.get_paginator("list_executions").paginate(stateMachineArn=self.machine, statusFilter="SUCCEEDED") for e in page["executions"]}
            except botocore.exceptions.BotoCoreError:
                return set()

        until(lambda: set(self.acknowledged) <= all_done(), 20)
        lost = set(self.acknowledged) - all_done()
        check(f"all {len(self.acknowledged)} acknowledged executions are there and succeeded", not lost, sorted(lost)[:5])
        gaps = []
        for name in random.sample(self.acknowledged, min(60, len(self.acknowledged))):
            ids = [e["id"] for e in sfn.get_execution_history(executionArn=f"{execution}:{name}")["events"]]
            if ids != list(range(1, len(ids) + 1)) or len(ids) != 8:
                gaps.append((name, ids))
        check("their histories have neither gap nor double", not gaps, gaps[:3])
        there = self.cluster.owner().client("ec2", attempts=5)
        found = {s["SnapshotId"] for s in there.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "volume-id", "Values": [self.volume]}])["Snapshots"]}
        check(f"all {len(self.snapshots)} acknowledged snapshots are there", set(self.snapshots) <= found, sorted(set(self.snapshots) - found))
        dr = self.cluster.owner().client("ec2", "us-east-2", attempts=5)

        def copies():
            out = {}
            for s in dr.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
                for tag in s.get("Tags", []):
                    if tag["Key"] == "snapward:source":
                        out.setdefault(tag["Value"].split("/")[1], []).append(s["SnapshotId"])
            return out

        until(lambda: found <= set(copies()), 60)
        have = copies()
        twice = {k: v for k, v in have.items() if k in found and len(v) != 1}
        check("each has one copy in the other region", found <= set(have) and not twice, f"without: {sorted(found - set(have))}, twice: {twice}")


def in_one_piece(folder, postgres):
    """--enforce-iam: one owner of everything, which the others hand on to; and no such state is split, nor a split one taken for such."""
    print("a state in one piece", flush=True)
    refused = subprocess.run([binary, "serve", "--store", postgres.url, "--port", str(free_port()), "--enforce-iam"], capture_output=True, text=True, timeout=30)
    check("a state in shards is not served with --enforce-iam", refused.returncode == 1 and "needs a state in one piece" in refused.stderr, refused)
    postgres.sql("DROP SCHEMA snapward CASCADE")
    cluster = Cluster(folder, postgres, (None, None), ("--enforce-iam",))
    try:
        check("every node is ready", until(lambda: all(n.get("/readyz") == "ok\n" for n in cluster.nodes), 10))
        check("one node owns it all", sorted(n.shards() == {"all"} for n in cluster.nodes) == [False, True], [n.shards() for n in cluster.nodes])
        for n, node in enumerate(cluster.nodes):
            node.client("sqs", "eu-west-1", attempts=5).create_queue(QueueName=f"q{n}")
        seen = [len(node.client("sqs", "eu-west-1", attempts=5).list_queues().get("QueueUrls", [])) for node in cluster.nodes]
        check("both answer", seen == [2, 2], seen)
        owner = next(n for n in cluster.nodes if n.owns("all"))
        other = next(n for n in cluster.nodes if n is not owner)
        owner.signal(signal.SIGTERM)
        owner.process.wait(20)
        check("the other takes over", until(lambda: other.owns("all"), 10))
    finally:
        cluster.stop()


def with_load(cluster, disturb):
    load = Load(cluster)
    try:
        time.sleep(1)
        return disturb(load)
    finally:
        load.finish()
        load.verify()


def any_node_answers(cluster):
    print("any node answers any request", flush=True)
    owner = cluster.owner()
    check("they share the state evenly", owner and cluster.settled() and cluster.shares() == [1, 1, 2], cluster.shares())
    check("every node is ready", until(lambda: all(n.get("/readyz") == "ok\n" for n in cluster.nodes), 10), [n.get("/readyz") for n in cluster.nodes])
    for n, node in enumerate(cluster.nodes):
        node.client("sqs").create_queue(QueueName=f"q{n}")
    owner = cluster.owner()
    seen = [len(node.client("sqs").list_queues().get("QueueUrls", [])) for node in cluster.nodes]
    check("what is written through one is read through every other", seen == [3, 3, 3], seen)
    other = next(n for n in cluster.nodes if n is not owner)
    long = botocore.config.Config(read_timeout=30)
    waiting = []
    poll = threading.Thread(target=lambda: waiting.append(boto3.client("sqs", endpoint_url=other.url, region_name="us-west-2", aws_access_key_id="a", aws_secret_access_key="b", config=long)
                                                          .receive_message(QueueUrl=f"{other.url}/000000000000/q0", WaitTimeSeconds=20)))
    poll.start()
    time.sleep(0.3)
    owner.client("sqs").send_message(QueueUrl=f"{owner.url}/000000000000/q0", MessageBody="hello")
    poll.join(10)
    check("a long poll through another node hears of it", waiting and waiting[0]["Messages"][0]["Body"] == "hello", waiting)
    head = urllib.request.urlopen(urllib.request.Request(other.url + "/healthz"), timeout=2)
    check("a node is healthy", head.status == 200)


def killed(cluster):
    print(f"the owner is killed, {options.rounds} times", flush=True)

    def disturb(load):
        took = []
        for n in range(options.rounds):
            shard = (LOADED, "us-east")[n % 2]  # the snapshots' and the copies'
            owner = next(n for n in cluster.nodes if n.owns(shard))
            owner.kill()
            begun = time.time()
            took.append(bool(until(lambda: next((n for n in cluster.nodes if n is not owner and n.owns(shard)), None), LEASE * 4)) and time.time() - begun)
            owner.start()
            cluster.settled()
        check(f"another owns the state within the lease ({LEASE} s) and two seconds: {', '.join(f'{t:.1f}' for t in took)} s", all(t and t < LEASE + 2 for t in took), took)
        return load

    with_load(cluster, disturb)


def frozen(cluster):
    print(f"the owner sleeps past its lease, {options.rounds} times", flush=True)

    def disturb(load):
        silent = []
        for _ in range(options.rounds):
            owner = cluster.owner()
            owner.signal(signal.SIGSTOP)
            after = until(lambda: next((n for n in cluster.nodes if n is not owner and n.owns()), None), LEASE * 4)
            epoch = cluster.postgres.sql(f"SELECT epoch FROM snapward.leases WHERE shard = '{LOADED}'")
            time.sleep(0.5)
            owner.signal(signal.SIGCONT)
            time.sleep(0.05)
# It may be given a shard again at once, since it has fewer: then with a new epoch.
            silent.append(after is not None and (not owner.owns() or epoch != cluster.postgres.sql(f"SELECT epoch FROM snapward.leases WHERE shard = '{LOADED}'")))
            time.sleep(1.5)
            silent.append(owner.process.poll() is None and owner.get("/readyz") == "ok\n")
        check("awake again it owns nothing, and hands on", all(silent), silent)

    with_load(cluster, disturb)


def rolling(cluster):
    print("each node is restarted, one after another", flush=True)

    def disturb(load):
        load.longest = 0
        codes = []
        for node in cluster.nodes:
            node.signal(signal.SIGTERM)
            codes.append(node.process.wait(20))
            node.start()
            until(lambda: node.get("/readyz") == "ok\n", 10)
            time.sleep(0.5)
        check("each ended well", codes == [0, 0, 0], codes)
        check(f"no request waited longer than {load.longest:.2f} s (2 are allowed)", load.longest < 2)

    with_load(cluster, disturb)


def database_away(cluster):
    print("the database is restarted", flush=True)

    def disturb(load):
        load.longest = 0
        cluster.postgres.restart()
        time.sleep(2 * LEASE)
        check("work goes on", until(lambda: cluster.owner(1), 10) is not None)
        check(f"no request waited longer than {load.longest:.2f} s ({LEASE * 3} are allowed)", load.longest < LEASE * 3)

    with_load(cluster, disturb)


def partition():
    """Inside a network namespace of its own: a switch, and each node behind a cable of its own."""
    print("the owner is cut off from the others and the database", flush=True)

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    ip("link", "set", "lo", "up")
    ip("link", "add", "switch", "type", "bridge")
    ip("addr", "add", "10.77.0.1/24", "dev", "switch")
    ip("link", "set", "switch", "up")
    places = []
    for n in (1, 2, 3):
        name, address = f"node{n}", f"10.77.0.1{n}"
        ip("netns", "add", name)
        ip("link", "add", f"cable{n}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"cable{n}", "master", "switch", "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        places.append((name, address))
    folder = tempfile.mkdtemp(prefix="snapward-nodes-")
    postgres = Postgres(listen="10.77.0.1")
    cluster = Cluster(folder, postgres, places)
    try:

        def disturb(load):
            took, back = [], []
            for _ in range(options.rounds):
                owner = cluster.owner()
                cable = f"cable{cluster.nodes.index(owner) + 1}"
                ip("link", "set", cable, "down")
                begun = time.time()
                took.append(bool(until(lambda: next((n for n in cluster.nodes if n is not owner and n.owns()), None), LEASE * 5)) and time.time() - begun)
                # Its own clients, on its side of the cut, are told to try again.
                alone = subprocess.run(["ip", "netns", "exec", owner.namespace, "curl", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}", f"{owner.url}/readyz"], capture_output=True, text=True).stdout
                ip("link", "set", cable, "up")
                back.append(alone == "503" and bool(until(lambda: owner.get("/readyz") == "ok\n", 15)))
            check(f"another owns the state within the lease ({LEASE} s) and two seconds: {', '.join(f'{t:.1f}' for t in took)} s", all(t and t < LEASE + 2 for t in took), took)
            check("the one cut off says that it is not ready, and is ready again when it is back", all(back), back)

        with_load(cluster, disturb)
    finally:
        cluster.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def partition_outside():
    command = ["unshare", "--net", "--mount", "sh", "-c", 'mkdir -p /run/netns && mount -t tmpfs none /run/netns && exec "$0" "$@"']
    probe = subprocess.run([*command, "sh", "-c", "ip link add probe type bridge && ip netns add probe"], capture_output=True, text=True)
    if probe.returncode:
        print(f"the owner is cut off: skipped, network namespaces cannot be made here ({probe.stderr.strip().splitlines()[-1] if probe.stderr.strip() else 'no reason given'})", flush=True)
        return
    run = subprocess.run([*command, sys.executable, os.path.abspath(__file__), binary, "--inside", "--rounds", str(options.rounds)], stdout=subprocess.PIPE, text=True)
    lines = run.stdout.splitlines()
    print("\n".join(lines[:-1]), flush=True)
    counted = lines[-1].split() if lines else []
    results["passed"] += int(counted[0]) if counted else 0
    results["failed"] += int(counted[2].rstrip(",")) if counted else 1


def throughput(folder, postgres):
    print("throughput, executions a second of five Pass states, 16 clients", flush=True)
    definition = {"StartAt": "S0", "States": {f"S{i}": {"Type": "Pass", **({"Next": f"S{i + 1}"} if i < 4 else {"End": True})} for i in range(5)}}
    for name, value in (("machine", definition), ("input", {"a": 1})):
        pathlib.Path(f"{folder}/{name}.json").write_text(json.dumps(value))
    regions = {"us-east": "us-east-2", "us-west": "us-west-2", "eu": "eu-west-1", "ap": "ap-south-1"}
    for count in (1, 2, 3):
        cluster = Cluster(folder, postgres, [None] * count)
        cluster.settled()

        def measure(what, asked):
            """Loads of (node, region, clients) at a time."""
            loads = [subprocess.Popen([options.throughput, str(n.port), f"{folder}/machine.json", f"{folder}/input.json", str(c), "5", region], stdout=subprocess.PIPE, text=True) for n, region, c in asked]
            answers = [load.communicate()[0].strip() for load in loads]
            rates = [float(re.search(r"([0-9.]+) executions/s", a)[1]) for a in answers]
            print(f"  {count} nodes, {what}: {sum(rates):.0f} ({answers[0].split(', ', 1)[1]})", flush=True)

        owners = {shard: next(n for n in cluster.nodes if n.owns(shard)) for shard in regions}
        measure("one region, asked of its owner", [(owners[LOADED], regions[LOADED], 16)])
        measure("four regions, each asked of its owner", [(owners[s], r, 4) for s, r in regions.items()])
        if count > 1:
            measure("one region, asked of all nodes", [(n, regions[LOADED], 16 // count + (i < 16 % count)) for i, n in enumerate(cluster.nodes)])
        cluster.stop()


def main():
    wanted = options.only.split(",")
    if options.inside:
        partition()
    else:
        folder = tempfile.mkdtemp(prefix="snapward-nodes-")
        postgres = Postgres()
        try:
            if options.throughput:
                throughput(folder, postgres)
            cluster = Cluster(folder, postgres)
            try:
                for name, test in (("answers", any_node_answers), ("kill", killed), ("freeze", frozen), ("rolling", rolling), ("database", database_away)):
                    if name in wanted:
                        test(cluster)
            finally:
                cluster.stop()
                if results["failed"]:
                    for node in cluster.nodes:
                        print(f"--- {node.url}\n" + "\n".join(node.logged().splitlines()[-25:]), file=sys.stderr)
            if "whole" in wanted:
                in_one_piece(folder, postgres)
        finally:
            postgres.stop()
            shutil.rmtree(folder, ignore_errors=True)
        if "partition" in wanted:
            partition_outside()
    finish()


main()

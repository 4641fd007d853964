#!/usr/bin/env python3
"""Clients that store what looks like a journal. They must not be able to change or lose a byte of anybody's state.

usage: journal.py BINARY

A server is given whole journals, its own and another server's, as S3 objects and in the code of a Lambda function, and is killed before it
has moved them into its database. Started again, it must have every acknowledged object as it was, and nothing else. Then files of the journal
are taken away, cut and exchanged: the server must refuse to start, and say why.
Exit code 0: all of that holds. Needs boto3. Traffic stays on 127.0.0.1.
"""
import hashlib
import io
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import zipfile

import boto3
import botocore.config
import botocore.exceptions

PIECE = 4 << 20  # of a journal in one request
failures = []


def expect(holds, what):
    print(f"  {'ok    ' if holds else 'FAILED'} {what}", flush=True)
    if not holds:
        failures.append(what)


class Server:
    started = []

    def __init__(self, binary, data):
        self.binary, self.data, self.process, self.buckets = binary, data, None, {}

    def start(self):
        """What it says when it does not start; else nothing."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        command = [self.binary, "serve", "--data", self.data, "--port", str(port), "--no-workflows", "--no-throttling"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        Server.started.append(self.process)
        if "is ready" not in self.process.stdout.readline():
            return self.process.communicate()[1]
        config = botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-west-2")
        self.s3, self.functions = (session.client(s, endpoint_url=f"http://127.0.0.1:{port}", config=config) for s in ("s3", "lambda"))
        return ""

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.communicate()

    def put(self, bucket, key, body):
        if bucket not in self.buckets:
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
            self.buckets[bucket] = {}
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)
        self.buckets[bucket][key] = hashlib.sha256(body).hexdigest()

    def has_its_objects(self):
        for bucket, objects in self.buckets.items():
            if {o["Key"] for o in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])} != set(objects):
                return False
            for key, digest in objects.items():
                if hashlib.sha256(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()).hexdigest() != digest:
                    return False
        return True

    def has_bucket(self, bucket):
        try:
            self.s3.head_bucket(Bucket=bucket)
            return True
        except botocore.exceptions.ClientError:
            return False

    def journals(self):
        return [open(os.path.join(self.data, f"journal-{n}"), "rb").read() for n in (0, 1)]


def used(journal):
    """A journal without the zeros at its end, in pieces."""
    journal = journal.rstrip(b"\0")
    return [journal[at:at + PIECE] for at in range(0, len(journal), PIECE)]


def function_with(journal):
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return event\n")
        archive.writestr("journal-0", journal)
    return code.getvalue()


def attack(binary, folder, chance):
    donor, victim = Server(binary, folder + "/donor"), Server(binary, folder + "/victim")
    # The donor is further on: its records have the numbers that the victim's next ones will have, and later ones.
    assert not donor.start()
    for n in range(300):
        donor.put("forged", f"{n}", chance.randbytes(12_000))
    foreign = donor.journals()
    donor.kill()

    for name in ("of another server", "of its own", "in a function"):
        said = victim.start()
        if said:
            return expect(False, f"the server starts: {said.strip()[-200:]}")
        for n in range(10):
            victim.put("mine", f"{name}/{n}", chance.randbytes(3000))
        if name == "in a function":
            code = {"ZipFile": function_with(used(foreign[0])[0][:3 << 20])}
            victim.functions.create_function(FunctionName="f", Runtime="python3.11", Role="arn:aws:iam::000000000000:role/r", Handler="app.handler", Code=code)
        else:
            for journal in foreign if name == "of another server" else victim.journals():
                for piece in used(journal):
                    victim.put("mine", f"{name}/piece {len(victim.buckets['mine'])}", piece)
        victim.kill()
        said = victim.start()
        expect(not said, f"a journal {name} stored: the server starts again {said.strip()[-200:]}")
        if said:
            return None
        expect(victim.has_its_objects() and not victim.has_bucket("forged"), f"a journal {name} stored: all acknowledged objects are there, and nothing else")
        victim.kill()
    return victim


def damage(binary, state, folder):
    def refused(name, words, harm):
        harmed = f"{folder}/{name.replace(' ', '-')}"
        shutil.copytree(state, harmed)
        harm(harmed)
        server = Server(binary, harmed)
        said = server.start()
        if not said:
            server.kill()
        expect(words in said, f"{name}: refused: {said.strip()[-220:]}")

    refused("journal-0 missing", "journal-0 is missing", lambda d: os.unlink(d + "/journal-0"))
    refused("journal-1 cut", "journal-1 is shorter", lambda d: os.truncate(d + "/journal-1", 5 << 20))
    refused("journal-0 of another folder", "another data folder", lambda d: shutil.copy(folder + "/donor/journal-0", d))
    refused("a database alone", "journal-0 is missing", lambda d: [os.unlink(f"{d}/{f}") for f in os.listdir(d) if f != "snapward.db"])
    refused("a journal without its database", "snapward.db is missing", lambda d: [os.unlink(f"{d}/{f}") for f in os.listdir(d) if f.startswith("snapward.db")])


def main():
    binary = os.path.abspath(sys.argv[1])
    folder = tempfile.mkdtemp(prefix="snapward-journal-")
    try:
        victim = attack(binary, folder, random.Random(5))
        if victim:
            rights = {f: stat.S_IMODE(os.stat(os.path.join(victim.data, f)).st_mode) for f in [".", *os.listdir(victim.data)]}
            expect(all(mode & 0o077 == 0 for mode in rights.values()), "files and folder are for their user alone")
            damage(binary, victim.data, folder)
    except Exception as problem:  # of a server that does not answer any more
        expect(False, f"the server answers: {type(problem).__name__} {problem}")
    finally:
        for process in Server.started:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

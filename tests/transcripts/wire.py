#!/usr/bin/python3
"""The transcripts (support/transcript.hpp) over the network: botocore clients against the real binary, the same answers word for word.

usage: wire.py BINARY [FILE...]    prints a line a file, then "N passed, N failed"; exit code 0 when all passed
Each file has a server of its own, on which time runs SCALE times faster.
"""
import datetime
import itertools
import json
import pathlib
import re
import sys
import tempfile
import time

import botocore
import botocore.config
import botocore.exceptions
import botocore.session

here = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(here.parent / "support"))
from stock import Server, check, finish  # noqa: E402

SCALE = 20
CLIENTS = {"states": "stepfunctions", "monitoring": "cloudwatch"}  # where boto3's name is not the one requests are signed for
KINDS = ("time", "uuid", "snapshot", "volume", "token", "digest")
MASKS = re.compile(
    r"(20(?:2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d GMT)"
    r"|\b([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b"
    r"|\b(snap-[0-9a-f]{17})\b|\b(vol-[0-9a-f]{17})\b"
    r"|([0-9a-f]{64}|[A-Za-z0-9+/_-]{80,}=*)|\b([0-9a-f]{32})\b", re.ASCII)
WIDTH = 140


class Unreadable(Exception):
    pass


class Block:
    def __init__(self, line, head):
        self.line, self.head, self.body, self.answer = line, head, "", None
        words = head.split()
        self.words = [w for w in words if "=" not in w]
        self.options = dict(w.split("=", 1) for w in words if "=" in w)


def blocks(text):
    lines = text.split("\n")
    at = 0
    while True:
        while at < len(lines) and (not lines[at].strip() or lines[at].startswith("#")):
            at += 1
        if at == len(lines):
            return
        block = Block(at + 1, lines[at])
        at += 1
        while at < len(lines) and lines[at].strip() and lines[at] != "----":
            block.body += lines[at] + "\n"
            at += 1
        if at < len(lines) and lines[at] == "----":
            at, block.answer = at + 1, ""
            while at < len(lines) and lines[at].strip():
                block.answer += lines[at] + "\n"
                at += 1
        yield block


def newest_models(folder, models_file):
    """Puts the API models that the binary embeds, of JSON services, where botocore reads them first: a distribution's may be years older."""
    header, texts = models_file.read_bytes().split(b"\n", 1)
    stock = botocore.session.Session().get_component("data_loader")
    for service, (offset, length) in json.loads(header).items():
        model = json.loads(texts[offset:offset + length])
        if model["protocol"] != "json" or service == "sqs":  # whose embedded model names its members for the query protocol too
            continue
        name = CLIENTS.get(service, service)
        place = folder / name / model["apiVersion"]
        place.mkdir(parents=True)
        metadata = stock.load_service_model(name, "service-2", model["apiVersion"])["metadata"]
        (place / "service-2.json").write_text(json.dumps({"metadata": metadata, **spelled_out(model)}))


def spelled_out(model):
    """A model whose every shape has a name, as botocore wants it; the SDKs' packages write shapes that are used once in place."""
    shapes = {}

    def named(use):
        if "shape" in use:
            return use
        name = f"Inline{len(shapes)}"
        shapes[name] = None
        shapes[name] = spelled(use)
        traits = {key: value for key, value in use.items() if key not in ("type", "members", "member", "key", "value", "required")}
        return {**traits, "shape": name}

    def spelled(shape):
        out = {"type": "structure" if "members" in shape else "string", **shape}
        out.update({part: named(shape[part]) for part in ("member", "key", "value") if part in shape})
        if out["type"] == "structure":
            out["members"] = {name: named(member) for name, member in shape.get("members", {}).items()}
        return out

    for name, shape in model["shapes"].items():
        shapes[name] = spelled(shape)
    operations = {}
    for name, operation in model["operations"].items():
        parts = {part: named(operation[part]) for part in ("input", "output") if part in operation}
        operations[name] = {"name": name, "http": {"method": "POST", "requestUri": "/"}, **parts}
    return {"operations": operations, "shapes": shapes}


class Masks:
    def __init__(self):
        self.names, self.counts = {}, dict.fromkeys(KINDS, 0)

    def hide(self, text):
        return MASKS.sub(lambda m: self._placeholder(KINDS[m.lastindex - 1], m[0]), text)

    def _placeholder(self, kind, value):
        if kind == "time":
            return "<time>"
        if value not in self.names:
            self.counts[kind] += 1
            self.names[value] = f"<{kind}-{self.counts[kind]}>"
        return self.names[value]

    def hide_in(self, value):
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            return [self.hide_in(item) for item in value]
        if isinstance(value, dict):
            return {k: self.hide_in(value[k]) for k in sorted(value, key=lambda k: (k != "name", k)) if value[k] is not None}
        return value

    def reveal(self, text):
        for value, name in self.names.items():
            text = text.replace(name, value)
        return text


def scalar(value):
    out = json.dumps(value, ensure_ascii=False)
    plain = isinstance(value, str) and "\\" in out and not any(c < " " or c == "`" for c in value)
    return f"`{value}`" if plain else out


def lay_out(value, indent=0, width=WIDTH):
    if not isinstance(value, (dict, list)):
        return scalar(value)
    if isinstance(value, dict):
        items = [json.dumps(k, ensure_ascii=False) + ": " + lay_out(v, indent + 2, width) for k, v in value.items()]
    else:
        items = [lay_out(v, indent + 2, width) for v in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    if not any("\n" in i for i in items) and indent + 2 + sum(len(i.encode()) + 2 for i in items) <= width:
        return opening + ", ".join(items) + closing
    line = "\n" + " " * (indent + 2)
    return opening + line + ("," + line).join(items) + "\n" + " " * indent + closing


def one_line(text):
    return text.replace("\n", "\\n")


def seconds(text):
    return float(text) / SCALE


class Stage:
    CASE, ROLE = "transcript", "arn:aws:iam::123456789012:role/transcript"

    def __init__(self, server, session):
        self.server, self.session, self.clients = server, session, {}
        self.masks, self.executions, self.runs, self.mocked = Masks(), {}, 0, False

    @staticmethod
    def mocks(script):
        machines, responses, states, runs = {}, {}, {}, 0
        for block in script:
            if block.words[0] == "run":
                runs += 1
                machines[block.options.get("name", f"M{runs}")] = {"TestCases": {Stage.CASE: states}}
                states = {}
            elif block.words[0] == "mock":
                name = f"{block.words[1]}-{block.line}"
                states[block.words[1]] = name
                responses[name] = json.loads(block.body)
        return {"StateMachines": machines, "MockedResponses": responses}

    def perform(self, block):
        self.region = block.options.get("region", "us-west-2")
        command = block.words[0]
        if command == "wait":
            time.sleep(seconds(block.words[1]))
        elif command == "mock":
            self.mocked = True
        elif command in ("run", "validate", "aws"):
            return getattr(self, command)(block)
        elif command == "history":
            return self.history(block, block.words[1])
        else:
            raise Unreadable(f"line {block.line}: unknown command '{command}'")

    def client(self, service):
        known = self.clients.get((service, self.region))
        if not known:
            config = botocore.config.Config(retries={"max_attempts": 0}, parameter_validation=False, inject_host_prefix=False, s3={"addressing_style": "path"})
            known = self.clients[service, self.region] = self.session.create_client(
                CLIENTS.get(service, service), endpoint_url=self.server.url, region_name=self.region, aws_access_key_id="test", aws_secret_access_key="test", config=config)
        return known

    def call(self, service, operation, request):
        client = self.client(service)
        if operation not in client.meta.service_model.operation_names:
            raise Unreadable(f"{service} has no operation {operation}")
        answer = getattr(client, botocore.xform_name(operation))(**request)
        answer.pop("ResponseMetadata", None)
        return answer

    def refused(self, error):
        return one_line(self.hide(error.response["Error"]["Code"] + ": " + error.response["Error"]["Message"])) + "\n"

    def hide(self, text):
        return self.masks.hide(text.replace(self.server.url, "http://127.0.0.1:4566"))

    def run(self, block):
        self.runs += 1
        case, self.mocked = "#" + self.CASE if self.mocked else "", False
        body = self.masks.reveal(block.body)
        definition, _, given = ("\n" + body).partition("\ninput\n")
        kind, name = block.options.get("type", "STANDARD"), f"E{self.runs}"
        try:
            machine = self.call("states", "CreateStateMachine", {"name": block.options.get("name", f"M{self.runs}"), "definition": definition[1:], "roleArn": self.ROLE, "type": kind})
            started = self.call("states", "StartSyncExecution" if kind == "EXPRESS" else "StartExecution", {"stateMachineArn": machine["stateMachineArn"] + case, "name": name, "input": given.strip() or "{}"})
        except botocore.exceptions.ClientError as error:
            return self.refused(error)
        if kind == "EXPRESS":
            return self.ending(started)
        self.executions[name] = started["executionArn"]
        return self.history(block, name)

    def history(self, block, name):
        arn = self.executions[name]
        if "until" in block.options:
            time.sleep(seconds(block.options["until"]))
        else:
            end = time.time() + 30
            while time.time() < end and self.call("states", "DescribeExecution", {"executionArn": arn})["status"] == "RUNNING":
                time.sleep(0.02)
        out, page = "", {"executionArn": arn, "maxResults": 1000}
        while True:
            answer = self.call("states", "GetExecutionHistory", page)
            out += "".join(self.event_line(event) for event in answer["events"])
            if "nextToken" not in answer:
                break
            page["nextToken"] = answer["nextToken"]
        return out + self.ending(self.call("states", "DescribeExecution", {"executionArn": arn}))

    def event_line(self, event):
        details = next((v for k, v in event.items() if k.endswith("EventDetails")), {})
        shown = self.hide_in({k: v for k, v in details.items() if k not in ("inputDetails", "outputDetails")})
        return f"{event['id']:>3} < {event.get('previousEventId', 0):<3} {event['type']}" + ("  " + lay_out(shown, 0, sys.maxsize) if shown else "") + "\n"

    def ending(self, execution):
        out = execution["status"]
        for member, before in (("output", " "), ("error", " "), ("cause", ": ")):
            if member in execution:
                out += before + execution[member]
        return one_line(self.hide(out)) + "\n"

    def hide_in(self, value):
        plain = json.loads(json.dumps(self._readable(value)).replace(self.server.url, "http://127.0.0.1:4566"))
        return self.masks.hide_in(plain)

    @staticmethod
    def _readable(value):
        """Times and bytes as texts."""
        if isinstance(value, datetime.datetime):
            return value.isoformat()
        if hasattr(value, "read"):
            value = value.read()
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, dict):
            return {k: Stage._readable(v) for k, v in value.items()}
        return [Stage._readable(v) for v in value] if isinstance(value, list) else value

    def validate(self, block):
        try:
            answer = self.call("states", "ValidateStateMachineDefinition", {"definition": self.masks.reveal(block.body), "type": block.options.get("type", "STANDARD"), "severity": "WARNING"})
        except botocore.exceptions.ClientError as error:
            return self.refused(error)
        lines = (f"{d['severity']} {d['code']} {d.get('location', '')}: {d['message']}" for d in answer["diagnostics"])
        return self.hide("".join(one_line(line) + "\n" for line in lines)) or "OK\n"

    def aws(self, block):
        body = self.masks.reveal(block.body).replace("http://127.0.0.1:4566", self.server.url)
        try:
            return lay_out(self.hide_in(self.call(block.words[1], block.words[2], json.loads(body or "{}")))) + "\n"
        except botocore.exceptions.ClientError as error:
            return self.refused(error)


def differences(script, stage):
    """The first lines where an answer is not the recorded one, a text a block."""
    for block in script:
        answer = stage.perform(block)
        for wanted, got in itertools.zip_longest((block.answer or "").splitlines(), (answer or "").splitlines(), fillvalue="(nothing)"):
            if wanted != got:
                yield f"line {block.line}: {block.head}\n    recorded {wanted}\n    here     {got}"
                break


def run(path, session):
    script = list(blocks(path.read_text()))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as mocks:
        json.dump(Stage.mocks(script), mocks)
        mocks.flush()
        server = Server("--in-memory", "--no-throttling", "--no-workflows", "--account", "123456789012", "--time-scale", str(SCALE), "--mocks", mocks.name, "--log-level", "warn")
        try:
            found = list(differences(script, Stage(server, session)))
        except Unreadable as error:
            found = [str(error)]
        finally:
            server.stop()
    check(path.stem, not found, "\n  " + "\n  ".join(found))


def main():
    Server.binary, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as models:
        newest_models(pathlib.Path(models), pathlib.Path(Server.binary).resolve().parent / "generated/models.json")
        session = botocore.session.Session()
        session.get_component("data_loader").search_paths.insert(0, models)
        for path in [pathlib.Path(n) for n in names] or sorted(here.glob("*.txt")):
            run(path, session)
    finish()


main()

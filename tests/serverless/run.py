#!/usr/bin/python3
"""The serverless place: deploy/snapward.yaml with the tasks as Lambda functions, on the local cloud instead of AWS. The local cloud has no
CloudFormation, so a small deployer below reads the template, uploads what it names and makes its resources with boto3. Functions are
processes with an endpoint and keys, and know nothing else of where they are.

usage: run.py SNAPWARD SNAPWARD_LAMBDA        prints a line a check, then "N passed, N failed"; exit code 0 when all passed
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

from ruamel.yaml import YAML  # the aws command line's own

root = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(root / "tests/support"))
from stock import Server, check, client, finish, until  # noqa: E402

Server.binary = os.path.abspath(sys.argv[1])
program = os.path.abspath(sys.argv[2])
PRIMARY, DR, ACCOUNT = "us-west-2", "us-east-2", "000000000000"
SUFFIX = "-on-lambda"  # the names without are the local cloud's own functions


def template():
    """deploy/snapward.yaml, its short forms (!Ref) written out ({"Ref": …})."""
    def intrinsic(loader, name, node):
        value = (loader.construct_scalar(node) if not isinstance(node.value, list) else
                 loader.construct_sequence(node, deep=True) if not node.value or not isinstance(node.value[0], tuple) else loader.construct_mapping(node, deep=True))
        return {name if name in ("Ref", "Condition") else "Fn::" + name: value}

    yaml = YAML(typ="safe", pure=True)
    yaml.constructor.add_multi_constructor("!", intrinsic)
    return yaml.load(root / "deploy/snapward.yaml")


class Stack:
    """What CloudFormation would make of a template: parameters, conditions, Ref, Fn::Sub, Fn::GetAtt and Fn::If, resources in the order of
    their references. Files that it names come from `files` and are uploaded first, as `aws cloudformation package` does."""

    def __init__(self, template, files, url, region, **parameters):
        self.template, self.url, self.region = template, url, region
        self.bucket = f"code-{region}"
        s3 = self.client("s3")
        s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": region})
        for name, content in files.items():
            s3.put_object(Bucket=self.bucket, Key=name, Body=content)
        self.values = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
        unknown = set(parameters) - set(self.values)
        assert not unknown, unknown
        self.values.update(parameters)
        self.values.update({"AWS::Region": region, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws"})
        self.made = {}  # logical name: (what Ref gives, attributes)
        self.outputs = {}

    def client(self, service):
        return client(service, self.url, self.region)

    def holds(self, condition):
        [(kind, operands)] = condition.items()
        if kind == "Fn::Equals":
            left, right = (str(self.value(o)) for o in operands)
            return left == right
        if kind == "Fn::Not":
            return not self.holds(operands[0])
        raise AssertionError(kind)

    def value(self, node):
        if isinstance(node, list):
            return [v for v in map(self.value, node) if v is not None]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(kind, operand)] = node.items()
            if kind == "Ref":
                return None if operand == "AWS::NoValue" else self.values[operand] if operand in self.values else self.resource(operand)[0]
            if kind == "Fn::GetAtt":
                name, attribute = operand.split(".") if isinstance(operand, str) else operand
                return self.resource(name)[1][attribute]
            if kind == "Fn::If":
                name, yes, no = operand
                return self.value(yes if self.holds(self.template["Conditions"][name]) else no)
            if kind == "Fn::Sub":
                return re.sub(r"\$\{([^}]+)\}", lambda m: str(self.value({"Ref": m[1]})), operand)
        return {key: v for key, v in ((key, self.value(item)) for key, item in node.items()) if v is not None}

    def wanted(self, name):
        condition = self.template["Resources"][name].get("Condition")
        return condition is None or self.holds(self.template["Conditions"][condition])

    def deploy(self):
        for name in self.template["Resources"]:
            if self.wanted(name):
                self.resource(name)
        self.outputs = {name: self.value(output["Value"]) for name, output in self.template["Outputs"].items()}

    def resource(self, name):
        if name not in self.made:
            assert self.wanted(name), f"{name} is referred to and not made"
            definition = self.template["Resources"][name]
            globals_ = self.template["Globals"]["Function"] if definition["Type"] == "AWS::Serverless::Function" else {}
            properties = self.value({**globals_, **definition["Properties"]})
            self.made[name] = getattr(self, definition["Type"].replace("::", "_"))(name, properties)
        return self.made[name]

    def AWS_SNS_Topic(self, name, p):
        return self.client("sns").create_topic(Name=p["TopicName"])["TopicArn"], {}

    def AWS_IAM_Role(self, name, p):
        iam, role = self.client("iam"), f"{name}-{self.region}"
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(p["AssumeRolePolicyDocument"]))["Role"]["Arn"]
        for policy in p["Policies"]:
            iam.put_role_policy(RoleName=role, PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(policy["PolicyDocument"]))
        return role, {"Arn": arn}

    def AWS_Serverless_Function(self, name, p):
        made = self.client("lambda").create_function(FunctionName=p["FunctionName"], Runtime=p["Runtime"], Handler=p["Handler"], Role=p["Role"], MemorySize=p["MemorySize"],
                                                     Timeout=p["Timeout"], Architectures=p["Architectures"], Code={"S3Bucket": self.bucket, "S3Key": p["CodeUri"]})
        return p["FunctionName"], {"Arn": made["FunctionArn"]}

    def AWS_Serverless_StateMachine(self, name, p):
        if "Definition" in p:
            definition = json.dumps(p["Definition"])
        else:
            definition = self.client("s3").get_object(Bucket=self.bucket, Key=p["DefinitionUri"])["Body"].read().decode()
            definition = re.sub(r"\$\{([^}]+)\}", lambda m: str(p["DefinitionSubstitutions"][m[1]]), definition)
        self.timeouts = getattr(self, "timeouts", {}) | {s["Resource"]: s["TimeoutSeconds"] for s in json.loads(definition)["States"].values() if "TimeoutSeconds" in s}
        return self.client("stepfunctions").create_state_machine(name=p["Name"], definition=definition, roleArn=p["Role"])["stateMachineArn"], {}

    def AWS_Events_Rule(self, name, p):
        events = self.client("events")
        how = {"EventPattern": json.dumps(p["EventPattern"])} if "EventPattern" in p else {"ScheduleExpression": p["ScheduleExpression"]}
        arn = events.put_rule(Name=p["Name"], Description=p["Description"], **how)["RuleArn"]
        refused = events.put_targets(Rule=p["Name"], Targets=p["Targets"])["FailedEntries"]
        assert not refused, refused
        return p["Name"], {"Arn": arn}


def packed(folder):
    """snapward-lambda.zip."""
    code, again = folder / "snapward-lambda.zip", folder / "again.zip"
    told = subprocess.run([sys.executable, str(root / "tools/package.py"), program, str(code)], capture_output=True, text=True)
    check("the program is packed", told.returncode == 0, told.stderr)
    print(f"         {told.stdout.strip().replace(str(code), code.name)}")
    subprocess.run([sys.executable, str(root / "tools/package.py"), program, str(again)], capture_output=True)
    check("packing it again gives the same bytes", code.read_bytes() == again.read_bytes())
    with zipfile.ZipFile(code) as archive:
        check("a bootstrap is in it that may be run", archive.getinfo("bootstrap").external_attr >> 16 & 0o111 == 0o111)
    return code.read_bytes()


def the_template_is_good():
    if subprocess.run(["sh", "-c", "cfn-lint --version"], capture_output=True).returncode != 0:
        return print("  skipped cfn-lint is not installed: 'pip install cfn-lint' lets it look at the template")
    said = subprocess.run(["cfn-lint", "--regions", PRIMARY, DR, "--template", str(root / "deploy/snapward.yaml")], capture_output=True, text=True)
    check("cfn-lint has nothing to say of the template", said.returncode == 0, said.stdout + said.stderr)


def the_roles_allow_what_the_tasks_call(template):
    calls = set()
    for file in ("src/snapshots/tasks.cpp", "src/cloud/ec2.cpp"):
        calls |= {f"{service}:{operation}" for service, operation in re.findall(r'call\(\{"(\w+)", [^"]+, "(\w+)"', (root / file).read_text())}
    statements = template["Resources"]["FunctionsRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    allowed = set()
    for statement in statements:
        allowed.update([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    check("the functions' role allows what the tasks call, and no more", calls == allowed and len(calls) == 7, calls ^ allowed)


def ended(stack, seconds=120):
    """The executions of the stack's machine, when there are some and none runs any more."""
    states = stack.client("stepfunctions")

    def all_of_them():
        found = states.list_executions(stateMachineArn=stack.outputs["StateMachineArn"])["executions"]
        return found if found and all(e["status"] != "RUNNING" for e in found) else None

    return until(all_of_them, seconds) or states.list_executions(stateMachineArn=stack.outputs["StateMachineArn"])["executions"]


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="snapward-serverless-"))
    # Five times as fast, no more: the workflows' timeouts of 60 s leave a function 12 s, which a busy machine may need to start its process.
    server = Server("--in-memory", "--no-workflows", "--time-scale", "5", "--no-throttling")
    try:
        code = packed(folder)
        the_template_is_good()
        the_roles_allow_what_the_tasks_call(template())
        files = {"../build/snapward-lambda.zip": code} | {f"../workflows/{f.name}": f.read_bytes() for f in (root / "workflows").iterdir()}
        common = {"FunctionNameSuffix": SUFFIX, "DRRegion": DR}
        primary = Stack(template(), files, server.url, PRIMARY, Side="primary", Retention=2, ManageSince="", **common)
        dr = Stack(template(), files, server.url, DR, Side="dr", Retention=1, ManageSince="", **common)
        primary.deploy()
        dr.deploy()
        check("both stacks are made", primary.outputs["StateMachineArn"].endswith("SnapshotManagement" + SUFFIX) and dr.outputs["CWETriggerRoleArn"])
        late = [(arn, stack.client("lambda").get_function_configuration(FunctionName=arn)["Timeout"], seconds)
                for stack in (primary, dr) for arn, seconds in stack.timeouts.items()]
        check("no state gives up before its function does", late and all(function < state for _, function, state in late), late)

        for stack in (primary, dr):  # who is told of errors
            queue = stack.client("sqs").create_queue(QueueName="told")["QueueUrl"]
            stack.client("sns").subscribe(TopicArn=stack.outputs["TopicArn"], Protocol="sqs", Endpoint=f"arn:aws:sqs:{stack.region}:{ACCOUNT}:told")
            stack.told = lambda stack=stack, queue=queue: [json.loads(m["Body"]) for m in stack.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])]

        ec2, away = client("ec2", server.url, PRIMARY), client("ec2", server.url, DR)
        volume = ec2.create_volume(AvailabilityZone=PRIMARY + "a", Size=1, Encrypted=True)["VolumeId"]
        taken = []
        for number in range(3):
            taken.append(ec2.create_snapshot(VolumeId=volume)["SnapshotId"])
            copied = until(lambda: [s for s in away.describe_snapshots(OwnerIds=["self"])["Snapshots"]
                                    if s["State"] == "completed" and {"Key": "snapward:source", "Value": f"{PRIMARY}/{taken[-1]}"} in s.get("Tags", [])], 120)
            check(f"snapshot {number + 1} is copied by functions", copied, ended(primary))
            told = ended(primary), ended(dr)
            check("its executions succeeded in both regions", all(len(found) == number + 1 and all(e["status"] == "SUCCEEDED" for e in found) for found in told), told)
        kept = {s["SnapshotId"] for s in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}
        check("two are kept, as the retention says", kept == set(taken[1:]), kept)
        check("and one copy", len(away.describe_snapshots(OwnerIds=["self"])["Snapshots"]) == 1)
        tags = {t["Key"]: t["Value"] for t in ec2.describe_snapshots(SnapshotIds=[taken[-1]])["Snapshots"][0]["Tags"]}
        check("its tags tell of it and of its copy", tags.get("OriginalVolumeId") == volume and tags.get("snapward:copy-state") == "completed", tags)
        check("nobody was told of an error", not primary.told() and not dr.told())

        # Errors keep their names on the way: what a task says, a function answers, and a state machine catches.
        asked = client("lambda", server.url, PRIMARY).invoke(FunctionName="snapward-copy-snapshot" + SUFFIX, Payload=b"{}", LogType="Tail")
        answer = json.loads(asked["Payload"].read())
        check("a task's error is the function's", asked.get("FunctionError") == "Unhandled" and answer["errorType"] == "Snapward.InvalidInput", answer)
        functions = client("lambda", server.url, PRIMARY)
        functions.create_function(FunctionName="nothing", Runtime="provided.al2023", Handler="snapward-nothing", Role="arn:aws:iam::000000000000:role/r",
                                  Code={"S3Bucket": primary.bucket, "S3Key": "../build/snapward-lambda.zip"})
        answer = json.loads(functions.invoke(FunctionName="nothing")["Payload"].read())
        check("a handler that there is not is named", answer.get("errorType") == "Runtime.NoSuchHandler" and "snapward-nothing" in answer["errorMessage"], answer)

        # The article's defect 1, here with the functions: a copy that fails is told and costs nothing that is good.
        states = client("stepfunctions", server.url, DR)
        broken = away.describe_snapshots(OwnerIds=["self"])["Snapshots"][0]["SnapshotId"]
        event = {"version": "0", "id": "e", "source": "aws.ec2", "detail-type": "EBS Snapshot Notification", "account": ACCOUNT, "region": DR, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                 "detail": {"event": "copySnapshot", "result": "failed", "cause": "Source snapshot ID is not accessible", "snapshot_id": f"arn:aws:ec2::{DR}:snapshot/{broken}",
                            "source": f"arn:aws:ec2::{PRIMARY}:snapshot/{taken[-1]}"}}
        states.start_execution(stateMachineArn=dr.outputs["StateMachineArn"], name="failed", input=json.dumps(event))
        failed = until(lambda: [e for e in ended(dr) if e["name"] == "failed"])
        check("a failed copy ends its execution FAILED", failed and failed[0]["status"] == "FAILED", failed)
        told = until(dr.told, 10)
        check("and is told", told and "Snapshot Management Error" in json.dumps(told[0]), told)
        check("the good copy is there", len(away.describe_snapshots(OwnerIds=["self"])["Snapshots"]) == 1)

        # An event that is delivered twice, at once and again later.
        event = event | {"id": "twice"}
        def deliver():
            started = states.start_execution(stateMachineArn=dr.made["BeginMachine"][0], input=json.dumps(event))["executionArn"]
            return lambda: (lambda d: d if d["status"] != "RUNNING" else None)(states.describe_execution(executionArn=started))
        pair = [deliver(), deliver()]
        begun = [until(b, 20) for b in pair]
        until(lambda: any(e["name"] == "twice" and e["status"] == "FAILED" for e in ended(dr)))
        begun.append(until(deliver(), 20))
        check("an event delivered three times begins", all(b and b["status"] == "SUCCEEDED" for b in begun), begun)
        check("and is one execution", [e["name"] for e in ended(dr)].count("twice") == 1 and len(ended(dr)) == 5, ended(dr))

        # The hourly machine, in both regions: nothing to make good.
        for stack in (primary, dr):
            machine = stack.made["ReconcileMachine"][0]
            run = stack.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
            done = until(lambda: (lambda d: d if d["status"] != "RUNNING" else None)(stack.client("stepfunctions").describe_execution(executionArn=run)), 30)
            check(f"reconciling in {stack.region} finds nothing undone", done and done["status"] == "SUCCEEDED", done)

        logs = client("logs", server.url, PRIMARY)
        lines = [e["message"] for e in logs.filter_log_events(logGroupName=f"/aws/lambda/snapward-copy-snapshot{SUFFIX}")["events"]]
        check("the log has the error", any("Snapward.InvalidInput" in line for line in lines), lines[-5:])
        reports = [float(m[1]) for m in (re.search(r"REPORT .*Duration: ([\d.]+) ms", line) for line in lines) if m]
        print(f"         copy-snapshot took {min(reports):.1f} to {max(reports):.1f} ms")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    finish()


main()

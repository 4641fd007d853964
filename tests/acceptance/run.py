#!/usr/bin/python3
"""Acceptance: the stock aws command line and boto3 against the real binary, as a user would meet it.

usage: run.py BINARY        prints a line a check, then "N passed, N failed"; exit code 0 when all passed
Everything stays on 127.0.0.1. Time runs 20 times faster, so that snapshots complete while one watches.
"""
import http.server
import io
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile

import boto3
import botocore.config
import botocore.exceptions

root = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(root / "tests/support"))
from stock import Aws, Server, check, client, finish, free_port, until  # noqa: E402

binary = Server.binary = os.path.abspath(sys.argv[1])

class Listener:
    """An HTTP endpoint that SNS may call: confirms the subscription, keeps what it is told."""

    def __init__(self, certificate=None):
        told = self.told = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()
                if body["Type"] == "SubscriptionConfirmation":
                    threading.Thread(target=lambda: urllib.request.urlopen(body["SubscribeURL"]).read()).start()
                else:
                    told.append(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"https://localhost:{self.server.server_port}/hook" if certificate else f"http://127.0.0.1:{self.server.server_port}/hook"


def tags(snapshot):
    return {t["Key"]: t["Value"] for t in snapshot.get("Tags", [])}


def the_story_by_command_line(url):
    print("the article's story, by the aws command line")
    primary, dr = Aws(url, "us-west-2"), Aws(url, "us-east-2")
    volume = primary("ec2", "create-volume", "--availability-zone", "us-west-2a", "--size", "8")["VolumeId"]
    snapshot = primary("ec2", "create-snapshot", "--volume-id", volume, "--description", "by hand")["SnapshotId"]
    machines = {region: aws("stepfunctions", "list-state-machines")["stateMachines"] for region, aws in (("us-west-2", primary), ("us-east-2", dr))}
    arn = {region: next(m["stateMachineArn"] for m in found if m["name"] == "SnapshotManagement") for region, found in machines.items()}

    def run(aws, region):
        for e in aws("stepfunctions", "list-executions", "--state-machine-arn", arn[region])["executions"]:
            d = aws("stepfunctions", "describe-execution", "--execution-arn", e["executionArn"])
            if e["status"] == "SUCCEEDED" and (snapshot in d["input"]):
                return d

    done = until(lambda: run(primary, "us-west-2"), 30)
    check("an execution in us-west-2 succeeded", done, primary.error)
    copied = until(lambda: run(dr, "us-east-2"), 30)
    check("an execution in us-east-2 succeeded", copied, dr.error)
    if done:
        history = primary("stepfunctions", "get-execution-history", "--execution-arn", done["executionArn"])["events"]
        names = [e["stateEnteredEventDetails"]["name"] for e in history if "stateEnteredEventDetails" in e]
        check("its history names the steps", names[:4] == ["Begin", "TagSnapshot", "EvaluateContinue", "EvaluateCopyNeeded"] and names[-1] == "SuccessState", names)
    found = primary("ec2", "describe-snapshots", "--snapshot-ids", snapshot)["Snapshots"][0]
    check("the snapshot carries the article's tags", tags(found).get("AutomatedSnapName", "").startswith(volume + "_") and tags(found).get("OriginalVolumeId") == volume, tags(found))
    check("its copy is confirmed", tags(found).get("snapward:copy-state") == "completed", tags(found))
    copies = dr("ec2", "describe-snapshots", "--owner-ids", "self", "--filters", f"Name=tag:OriginalVolumeId,Values={volume}")["Snapshots"]
    check("the DR region holds one copy", len(copies) == 1 and copies[0]["Description"] == f"{snapshot}**{volume}**us-west-2" and tags(copies[0])["OriginalRegion"] == "us-west-2", copies)
    primary("ec2", "describe-snapshots", "--snapshot-ids", "snap-00000000000000000")
    check("an unknown snapshot is AWS's error", "(InvalidSnapshot.NotFound) when calling the DescribeSnapshots operation: The snapshot 'snap-00000000000000000' does not exist." in primary.error, primary.error)
    primary("ec2", "describe-vpcs")
    check("what is not built says so", "(NotImplemented)" in primary.error, primary.error)
    return volume


def the_retention_by_boto3(url):
    print("the retention, by boto3")
    ec2, dr = client("ec2", url), client("ec2", url, "us-east-2")
    volume = ec2.create_volume(AvailabilityZone="us-west-2b", Size=1)["VolumeId"]
    made = []
    for i in range(4):  # one more than the three that are kept
        made.append(ec2.create_snapshot(VolumeId=volume, Description=f"number {i}")["SnapshotId"])
        until(lambda: tags(ec2.describe_snapshots(SnapshotIds=[made[-1]])["Snapshots"][0]).get("snapward:copy-state") == "completed")
    ours = lambda c, f: [s["SnapshotId"] for s in c.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=f).search("Snapshots[]")]
    kept = until(lambda: (lambda ids: ids if len(ids) == 3 else None)(ours(ec2, [{"Name": "volume-id", "Values": [volume]}])))
    check("three of four are kept, the newest", kept and set(kept) == set(made[1:]), kept)
    check("one copy is kept in the DR region", until(lambda: len(ours(dr, [{"Name": "tag:OriginalVolumeId", "Values": [volume]}])) == 1))
    waiter = ec2.get_waiter("snapshot_completed")
    waiter.config.delay = 1
    waiter.wait(SnapshotIds=[made[-1]])
    try:
        ec2.create_snapshot(VolumeId="vol-00000000000000000")
        check("boto3 raises AWS's error", False)
    except botocore.exceptions.ClientError as e:
        check("boto3 raises AWS's error", e.response["Error"]["Code"] == "InvalidVolume.NotFound" and e.response["ResponseMetadata"]["HTTPStatusCode"] == 400, e)


def make_certificate(directory):
    """A certificate for localhost, with its key, in one file."""
    path = os.path.join(directory, "localhost.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", path + ".key", "-out", path],
                   check=True, capture_output=True)
    pathlib.Path(path + ".both").write_text(pathlib.Path(path).read_text() + pathlib.Path(path + ".key").read_text())
    return path


def failures_are_told(url, certificate):
    print("failures are told: a queue, an HTTP and an HTTPS endpoint")
    sns, sqs, ec2, sfn = (client(s, url) for s in ("sns", "sqs", "ec2", "stepfunctions"))
    topic = next(t["TopicArn"] for t in sns.list_topics()["Topics"] if t["TopicArn"].endswith(":SnapshotMgmtTopic"))
    queue = sqs.create_queue(QueueName="alarms")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    listener = Listener()
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=listener.url)
    secure = Listener(certificate + ".both")
    sns.subscribe(TopicArn=topic, Protocol="https", Endpoint=secure.url)
    confirmed = lambda: len([s for s in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] if s["Protocol"].startswith("http") and s["SubscriptionArn"] != "PendingConfirmation"]) == 2
    check("the endpoints confirmed their subscriptions", until(confirmed))
    volume = ec2.create_volume(AvailabilityZone="us-west-2a", Size=1)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    # Pinned by an image, then pushed out of the retention: it cannot be deleted, and that is told.
    until(lambda: ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"] == "completed")
    ec2.register_image(Name="golden", BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}])
    for _ in range(3):
        last = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        until(lambda: tags(ec2.describe_snapshots(SnapshotIds=[last])["Snapshots"][0]).get("snapward:copy-state") == "completed")
    message = until(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"))
    body = json.loads(message[0]["Body"]) if message else {}
    check("the queue has the notification", body.get("Subject") == "Snapshot Management Error" and snapshot in body.get("Message", ""), body)
    check("so has the HTTP endpoint", until(lambda: any(snapshot in t["Message"] for t in listener.told)), listener.told)
    check("and the HTTPS endpoint", until(lambda: any(snapshot in t["Message"] for t in secure.told)), secure.told)


def rules_by_hand(url):
    print("rules and machines by hand")
    events, sqs, sfn, iam = (client(s, url) for s in ("events", "sqs", "stepfunctions", "iam"))
    role = iam.create_role(RoleName="by-hand", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    definition = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.detail.n, 1)"}, "End": True}}}
    machine = sfn.create_state_machine(name="by-hand", definition=json.dumps(definition), roleArn=role)["stateMachineArn"]
    pattern = {"source": ["app"], "detail": {"n": [{"numeric": [">", 1]}]}}
    events.put_rule(Name="by-hand", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="by-hand", Targets=[{"Id": "1", "Arn": machine, "RoleArn": role}])
    event = {"id": "1", "account": "1", "source": "app", "time": "2026-01-01T00:00:00Z", "region": "us-west-2", "resources": [], "detail-type": "t", "detail": {"n": 2}}
    check("TestEventPattern agrees", events.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))["Result"])
    put = events.put_events(Entries=[{"Source": "app", "DetailType": "t", "Detail": json.dumps({"n": 2})}])
    check("PutEvents accepts it", put["FailedEntryCount"] == 0)
    done = until(lambda: sfn.list_executions(stateMachineArn=machine, statusFilter="SUCCEEDED")["executions"])
    check("the execution ran", done and json.loads(sfn.describe_execution(executionArn=done[0]["executionArn"])["output"]) == {"n": 3})
    check("its name carries the event's id", done and done[0]["name"].startswith(put["Entries"][0]["EventId"]))
    try:
        sfn.create_state_machine(name="bad", definition='{"StartAt":"X","States":{}}', roleArn=role)
        check("a bad definition is refused", False)
    except sfn.exceptions.InvalidDefinition as e:
        check("a bad definition is refused", "Invalid State Machine Definition" in str(e), e)
    try:
        events.put_rule(Name="bad", EventPattern='{"detail": {"n": [1, {"prefix": 5}]}}')
        check("a bad pattern is refused with the place of the mistake", False)
    except events.exceptions.InvalidEventPatternException as e:
        check("a bad pattern is refused with the place of the mistake", "prefix match pattern must be a string" in str(e) and "line: 1, column: 34]" in str(e), e)


def machines_of_every_kind(url):
    print("Step Functions of every kind, S3 and Scheduler, by boto3")
    sfn = boto3.client("stepfunctions", endpoint_url=url, region_name="us-west-2", aws_access_key_id="test", aws_secret_access_key="test",
                       config=botocore.config.Config(inject_host_prefix=False))
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-west-2", aws_access_key_id="test", aws_secret_access_key="test", config=botocore.config.Config(s3={"addressing_style": "path"}))
    role = "arn:aws:iam::000000000000:role/r"

    def create(name, definition, **more):
        return sfn.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role, **more)["stateMachineArn"]

    def run(machine, value):
        arn = sfn.start_execution(stateMachineArn=machine, input=json.dumps(value))["executionArn"]
        until(lambda: sfn.describe_execution(executionArn=arn)["status"] != "RUNNING")
        return sfn.describe_execution(executionArn=arn)

    jsonata = create("Jsonata", {"QueryLanguage": "JSONata", "StartAt": "A", "States": {
        "A": {"Type": "Pass", "Assign": {"big": "{% $states.input.volumes[size > 50].id %}"}, "Output": "{% $sum($states.input.volumes.size) %}", "Next": "B"},
        "B": {"Type": "Pass", "Output": {"ids": "{% $big %}", "total": "{% $states.input %}"}, "End": True}}})
    done = run(jsonata, {"volumes": [{"id": "a", "size": 10}, {"id": "b", "size": 60}, {"id": "c", "size": 90}]})
    check("a machine in JSONata", json.loads(done.get("output", "null")) == {"ids": ["b", "c"], "total": 160}, done)
    failed = run(jsonata, {})
    check("its failure says which expression", "returned nothing (undefined)" in failed.get("cause", ""), failed)

    express = create("Quick", {"StartAt": "A", "States": {"A": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"}, "End": True}}}, type="EXPRESS")
    answer = sfn.start_sync_execution(stateMachineArn=express, input='{"n": 1}')
    check("an Express workflow answers at once", answer["status"] == "SUCCEEDED" and json.loads(answer["output"]) == {"n": 2}, answer)

    s3.create_bucket(Bucket="items", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(Bucket="items", Key="in/list.csv", Body=b"name,size\r\none,1\r\n\"two, too\",2\r\n")
    listed = s3.list_objects_v2(Bucket="items", Prefix="in/")
    check("S3 keeps and lists an object", [o["Key"] for o in listed.get("Contents", [])] == ["in/list.csv"], listed)
    check("and gives it back", s3.get_object(Bucket="items", Key="in/list.csv", Range="bytes=0-8")["Body"].read() == b"name,size")
    distributed = create("Many", {"StartAt": "M", "States": {"M": {
        "Type": "Map", "Label": "Rows", "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
                                                       "Parameters": {"Bucket": "items", "Key.$": "$.key"}},
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "P", "States": {"P": {"Type": "Pass", "OutputPath": "$.name", "End": True}}},
        "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "items", "Prefix": "out"}}, "End": True}}})
    done = run(distributed, {"key": "in/list.csv"})
    details = json.loads(done.get("output", "{}")).get("ResultWriterDetails", {})
    check("a distributed Map reads a CSV and writes its results", details.get("Bucket") == "items", done)
    if details:
        manifest = json.loads(s3.get_object(Bucket="items", Key=details["Key"])["Body"].read())
        rows = json.loads(s3.get_object(Bucket="items", Key=manifest["ResultFiles"]["SUCCEEDED"][0]["Key"])["Body"].read())
        check("every item has a line in them", sorted(json.loads(r["Output"]) for r in rows) == ["one", "two, too"], rows)
    map_run = sfn.list_map_runs(executionArn=done["executionArn"])["mapRuns"][0]["mapRunArn"]
    check("its Map Run counts them", sfn.describe_map_run(mapRunArn=map_run)["itemCounts"]["succeeded"] == 2)
    missing = run(distributed, {"key": "in/none.csv"})
    check("a missing document fails the reader", missing.get("error") == "States.ItemReaderFailed", missing)

    activity = sfn.create_activity(name="by-hand")["activityArn"]
    waiting = sfn.start_execution(stateMachineArn=create("Worked", {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": activity, "End": True}}}), input='"job"')["executionArn"]
    task = sfn.get_activity_task(activityArn=activity, workerName="me")
    sfn.send_task_success(taskToken=task["taskToken"], output='"done"')
    until(lambda: sfn.describe_execution(executionArn=waiting)["status"] != "RUNNING")
    check("a worker takes an activity's task", json.loads(task["input"]) == "job" and sfn.describe_execution(executionArn=waiting).get("output") == '"done"')

    if hasattr(sfn, "publish_state_machine_version"):
        version = sfn.publish_state_machine_version(stateMachineArn=jsonata)["stateMachineVersionArn"]
        alias = sfn.create_state_machine_alias(name="live", routingConfiguration=[{"stateMachineVersionArn": version, "weight": 100}])["stateMachineAliasArn"]
        check("an alias starts its version", run(alias, {"volumes": []})["stateMachineVersionArn"] == version)
        tested = sfn.test_state(definition=json.dumps({"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% $x + 1 %}", "End": True}), variables='{"x": 41}', inspectionLevel="DEBUG")
        check("TestState runs one state", tested["output"] == "42", tested)
    else:
        print("  skip   versions, aliases and TestState: this boto3 does not know them yet")

    scheduler = client("scheduler", url)
    queue = client("sqs", url).create_queue(QueueName="scheduled")["QueueUrl"]
    scheduler.create_schedule(Name="soon", ScheduleExpression="rate(1 minute)", FlexibleTimeWindow={"Mode": "OFF"},
                              Target={"Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage", "RoleArn": role, "Input": json.dumps({"QueueUrl": queue, "MessageBody": "tick"})})
    got = until(lambda: client("sqs", url).receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"))
    check("a schedule calls its target", got and got[0]["Body"] == "tick", got)
    scheduler.delete_schedule(Name="soon")


def functions_and_logs(url):
    print("functions that were uploaded, and logs")
    lam, sfn, logs = (client(service, url) for service in ("lambda", "stepfunctions", "logs"))

    def package(name, text):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(name, text)
        return packed.getvalue()

    python = """
import boto3, os
def handler(event, context):
    print("counting for", context.function_name)
    if event.get("bad"):
        raise ValueError("bad event")
    sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    return {"queues": len(sqs.list_queues().get("QueueUrls", [])), "was": event}
"""
    role = "arn:aws:iam::000000000000:role/r"
    lam.create_function(FunctionName="counter", Runtime="python3.11", Role=role, Handler="app.handler", Timeout=20, Code={"ZipFile": package("app.py", python)})
    lam.get_waiter("function_active_v2").wait(FunctionName="counter")
    answer = lam.invoke(FunctionName="counter", Payload=b'{"a": 1}')
    payload = json.loads(answer["Payload"].read())
    check("a Python function runs, and calls this cloud", payload.get("was") == {"a": 1} and payload.get("queues", -1) >= 0 and "FunctionError" not in answer, payload)
    node = 'exports.handler = async event => ({sum: event.a + event.b});'
    lam.create_function(FunctionName="adder", Runtime="nodejs20.x", Role=role, Handler="index.handler", Timeout=20, Code={"ZipFile": package("index.js", node)})
    check("a Node.js function runs", json.loads(lam.invoke(FunctionName="adder", Payload=b'{"a": 1, "b": 2}')["Payload"].read()) == {"sum": 3})
    logs.create_log_group(logGroupName="/machines")
    group = logs.describe_log_groups(logGroupNamePrefix="/machines")["logGroups"][0]["arn"]
    definition = {"StartAt": "Add", "States": {
        "Add": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "adder", "Payload.$": "$"}, "OutputPath": "$.Payload", "Next": "Fail"},
        "Fail": {"Type": "Task", "Resource": "arn:aws:lambda:us-west-2:000000000000:function:counter", "Parameters": {"bad": True}, "Catch": [{"ErrorEquals": ["ValueError"], "ResultPath": "$.caught", "Next": "End"}], "End": True},
        "End": {"Type": "Pass", "End": True}}}
    machine = sfn.create_state_machine(name="functions", roleArn=role, definition=json.dumps(definition), loggingConfiguration={"level": "ALL", "includeExecutionData": True, "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}]})["stateMachineArn"]
    execution = sfn.start_execution(stateMachineArn=machine, input='{"a": 20, "b": 22}')["executionArn"]
    done = until(lambda: (d := sfn.describe_execution(executionArn=execution))["status"] != "RUNNING" and d)
    output = json.loads(done.get("output", "{}"))
    check("a state machine calls it and catches what it raises", output.get("sum") == 42 and output.get("caught", {}).get("Error") == "ValueError" and "bad event" in output["caught"]["Cause"], done)
    types = [json.loads(e["message"])["type"] for e in logs.filter_log_events(logGroupName="/machines", logStreamNamePrefix="states/")["events"]]
    check("its log is its history", sorted(types) == sorted(e["type"] for e in sfn.get_execution_history(executionArn=execution)["events"]), types)
    check("what a function prints is in its log group", any("counting for counter" in e["message"] for e in logs.filter_log_events(logGroupName="/aws/lambda/counter")["events"]))
    tables = client("dynamodb", url)
    tables.create_table(TableName="runs", KeySchema=[{"AttributeName": "volume", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "volume", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST")
    tables.get_waiter("table_exists").wait(TableName="runs")
    for _ in range(2):
        counted = tables.update_item(TableName="runs", Key={"volume": {"S": "vol-1"}}, UpdateExpression="ADD runs :one SET note = :note", ExpressionAttributeValues={":one": {"N": "1"}, ":note": {"B": b"\x00\xff"}}, ReturnValues="ALL_NEW")["Attributes"]
    check("a table counts", counted == {"volume": {"S": "vol-1"}, "runs": {"N": "2"}, "note": {"B": b"\x00\xff"}}, counted)
    secrets = client("secretsmanager", url)
    first = secrets.create_secret(Name="vault/token", SecretString="one")
    second = secrets.put_secret_value(SecretId="vault/token", SecretString="two")["VersionId"]
    got = secrets.get_secret_value(SecretId=first["ARN"])
    before = secrets.get_secret_value(SecretId="vault/token", VersionStage="AWSPREVIOUS")
    check("a secret has its new value, and the one before", (got["SecretString"], got["VersionId"], before["SecretString"], before["VersionId"]) == ("two", second, "one", first["VersionId"]), (got, before))
    reader = sfn.create_state_machine(name="reader", roleArn=role, definition=json.dumps({"StartAt": "Get", "States": {"Get": {
        "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:secretsmanager:getSecretValue", "Parameters": {"SecretId": "vault/token"}, "OutputPath": "$.SecretString", "End": True}}}))["stateMachineArn"]
    execution = sfn.start_execution(stateMachineArn=reader)["executionArn"]
    done = until(lambda: (d := sfn.describe_execution(executionArn=execution))["status"] != "RUNNING" and d)
    check("a state machine reads it", done.get("output") == '"two"', done)
    secrets.delete_secret(SecretId="vault/token", RecoveryWindowInDays=7)
    try:
        secrets.get_secret_value(SecretId="vault/token")
        check("a deleted secret is not told", False)
    except secrets.exceptions.InvalidRequestException as e:
        check("a deleted secret is not told", "marked for deletion" in str(e), e)
    secrets.restore_secret(SecretId="vault/token")
    check("restored in time, it is", secrets.get_secret_value(SecretId="vault/token")["SecretString"] == "two")
    aws = Aws(url, "us-west-2")
    check("the command line reads logs", len(aws("logs", "filter-log-events", "--log-group-name", "/aws/lambda/counter", "--filter-pattern", "counting")["events"]) == 2)


def looking_at_it(server):
    print("executions and events, from the terminal")
    metrics = urllib.request.urlopen(server.url + "/metrics", timeout=5).read().decode()
    for name in ("snapward_executions_running ", 'snapward_executions_ended_total{status="SUCCEEDED"} ', "snapward_commits_total ", 'snapward_volume_unprotected_seconds{region="us-west-2"', "snapward_rule_matches_total "):
        check(f"/metrics tells {name.split('{')[0].strip()}", name in metrics, metrics[:400])
    there = ["--endpoint", server.url]

    def snapward(*arguments):
        return subprocess.run([binary, *arguments], capture_output=True, text=True)

    listed = snapward("executions", "list", "arn:aws:states:us-west-2:000000000000:stateMachine:SnapshotManagement", "--json", *there)
    executions = json.loads(listed.stdout or "[]")
    check("executions list", listed.returncode == 0 and executions, listed.stderr)
    shown = snapward("executions", "show", executions[-1]["executionArn"], *there)
    check("executions show, a line a state", shown.returncode == 0 and "TagSnapshot" in shown.stdout and len(shown.stdout.splitlines()) < 30, shown.stdout + shown.stderr)
    check("and for programs", json.loads(snapward("executions", "show", executions[-1]["executionArn"], "--json", *there).stdout)["states"][0]["result"] == "done")
    check("an ARN that is none is explained", "is not the ARN of an execution" in snapward("executions", "show", "nonsense", *there).stderr)
    watching = subprocess.Popen([binary, "events", "tail", "--pattern", '{"source":["shop"]}', "--count", "1", "--json", *there], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watching.stderr.readline()  # it watches
    put = snapward("events", "put", "Order Placed", '{"n": 7}', "--source", "shop", *there)
    try:
        seen = json.loads(watching.communicate(timeout=20)[0])
    except (subprocess.TimeoutExpired, json.JSONDecodeError) as e:
        watching.kill()
        seen = {"error": str(e)}
    check("events tail sees what events put puts", seen.get("id") == put.stdout.strip() and seen.get("detail") == {"n": 7}, (seen, put))
    check("and leaves no rule behind", not [r for r in client("events", server.url).list_rules()["Rules"] if r["Name"].startswith("snapward-tail")])
    events = '{"id":"1","source":"a","detail":{"n":1}}\n{"id":"2","source":"a","detail":{"n":5}}\n'
    tried = subprocess.run([binary, "events", "test", '{"detail":{"n":[{"numeric":[">",3]}]}}', "-"], input=events, capture_output=True, text=True)
    check("events test", tried.returncode == 0 and "1 of 2 events match" in tried.stdout, tried.stdout)
    due = snapward("events", "next", "cron(30 2 * * ? *)", "--zone", "Europe/Berlin", "--from", "2026-03-28T00:00:00Z", "--count", "2", "--json")
    check("events next knows about the clocks", json.loads(due.stdout) == ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"], due.stdout)


def broken_requests(server):
    print("broken requests")
    lines = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\n"
    shapes = {"a body beyond the limit": b"413 Payload Too Large", "headers beyond the limit": b"413 Payload Too Large", "no HTTP at all": b"400 Bad Request"}
    for name, request in {
        "a body that ends too soon": lines + b"Content-Length: 100\r\n\r\n{",
        "no HTTP at all": b"\x16\x03\x01\x00nonsense\r\n\r\n",
        "a body beyond the limit": lines + b"Content-Length: 99999999\r\n\r\n",
        "headers beyond the limit": lines + b"X: " + b"x" * 20000 + b"\r\n\r\n",
        "a chunk of nonsense": lines + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    }.items():
        with socket.create_connection(("127.0.0.1", server.port), 5) as s:
            s.sendall(request)
            s.shutdown(socket.SHUT_WR)
            s.settimeout(5)
            try:
                answer = s.recv(4096)
            except ConnectionResetError:
                answer = b""
        check(f"{name}: never a success", not answer.startswith(b"HTTP/1.1 2"), answer[:80])
        if name in shapes:
            check(f"{name}: an error as AWS shapes it", answer.startswith(b"HTTP/1.1 " + shapes[name]) and b'"__type":"' in answer and b"x-amzn-RequestId: " in answer, answer)
    check("and the server still answers", client("stepfunctions", server.url).list_state_machines()["stateMachines"])


def a_killed_server_goes_on(data):
    print("a killed server goes on where it was")
    server = Server("--data", data, "--time-scale", "20", "--retention", "3")
    ec2, sfn = client("ec2", server.url), client("stepfunctions", server.url)
    volume = ec2.create_volume(AvailabilityZone="us-west-2a", Size=40)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    machine = next(m["stateMachineArn"] for m in sfn.list_state_machines()["stateMachines"] if m["name"] == "SnapshotManagement")
    running = until(lambda: [e for e in sfn.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]])
    check("an execution is under way", running)
    server.stop(signal.SIGKILL)
    server = Server("--data", data, "--time-scale", "20", "--retention", "3", port=server.port)
    done = until(lambda: sfn.describe_execution(executionArn=running[0]["executionArn"])["status"] == "SUCCEEDED", 30)
    check("it ends after the restart", done, running)
    check("time, which ran ahead, did not go back", sfn.describe_execution(executionArn=running[0]["executionArn"])["stopDate"] > running[0]["startDate"])
    history = sfn.get_execution_history(executionArn=running[0]["executionArn"], maxResults=1000)["events"]
    check("its history has neither gap nor double", [e["id"] for e in history] == list(range(1, len(history) + 1)))
    check("there is one copy", len(client("ec2", server.url, "us-east-2").describe_snapshots(Filters=[{"Name": "tag:snapward:source", "Values": [f"us-west-2/{snapshot}"]}])["Snapshots"]) == 1)
    check("a second server on the same data is refused", subprocess.run([binary, "serve", "--port", str(free_port()), "--data", data], capture_output=True, text=True).stderr.count("in use by another snapward") == 1)
    check("it stops when asked", server.stop() == 0)


def a_full_disk(data):
    print("a full disk")

    server = Server("--data", data, "--no-workflows", preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
    # From now on writing beyond the first MiB of a file is refused, as by a disk without room.
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    sqs = client("sqs", server.url)
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    acknowledged = []

    def fill():
        own = boto3.client("sqs", endpoint_url=server.url, region_name="us-west-2", aws_access_key_id="t", aws_secret_access_key="t",
                           config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=60))
        for n in range(200):
            acknowledged.append(own.send_message(QueueUrl=queue, MessageBody=f"{n} {random.randbytes(8000).hex()}")["MessageId"])

    filling = threading.Thread(target=fill, daemon=True)
    filling.start()

    def readiness():
        try:
            return urllib.request.urlopen(server.url + "/readyz", timeout=5).status
        except urllib.error.HTTPError as error:
            return error.code

    check("without room the server says that it is not ready", until(lambda: readiness() == 503), f"{len(acknowledged)} messages")
    held = len(acknowledged)
    time.sleep(1.5)
    check("and acknowledges nothing", len(acknowledged) == held < 200, f"{held}, {len(acknowledged)}")
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    filling.join(60)
    check("with room it goes on by itself, and everything held back is done", len(acknowledged) == 200 and readiness() == 200, f"{len(acknowledged)}")
    server.stop(signal.SIGKILL)
    server = Server("--data", data, "--no-workflows", port=server.port)
    n = client("sqs", server.url).get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessages"]
    check("nothing acknowledged is lost", int(n) == 200, n)
    server.stop()


def a_read_only_disk(directory):
    print("a disk that is read only")
    script = 'mount -t tmpfs none "$1" && cp -r "$2" "$1/data" && mount -o remount,ro "$1" && exec "$3" serve --port 0 --data "$1/data"'
    place = os.path.join(directory, "read-only")
    os.mkdir(place)
    if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", place], capture_output=True).returncode:
        print("  skip   file systems cannot be mounted here")
        return
    run = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", place, os.path.join(directory, "full"), binary], capture_output=True, text=True, timeout=20)
    check("the server does not start, and says why", run.returncode == 1 and "snapward: cannot write in the data folder" in run.stderr and "Read-only file system" in run.stderr, run.stdout + run.stderr)
    server = Server("--data", os.path.join(directory, "full"), "--no-workflows")
    check("on the same state, writable, it does", " is ready on " in server.banner, server.banner)
    server.stop()


def operating_it(directory):
    print("operating it: drain, logs, backup and restore, keeping")
    data, saved, restored = (os.path.join(directory, name) for name in ("ops", "saved.db", "restored"))
    log = open(os.path.join(directory, "log.jsonl"), "w+")
    server = Server("--data", data, "--no-workflows", "--log-format", "json", "--time-scale", "4000", "--keep-executions", "1", stderr=log)
    states, sqs = client("stepfunctions", server.url), client("sqs", server.url)
    machine = states.create_state_machine(name="m", roleArn="arn:aws:iam::000000000000:role/r",
                                          definition='{"StartAt":"F","States":{"F":{"Type":"Fail","Error":"Oh.No","Cause":"it \\"broke\\""}}}')["stateMachineArn"]
    arn = states.start_execution(stateMachineArn=machine, name="old")["executionArn"]
    log.seek(0)
    line = until(lambda: next((entry for entry in map(json.loads, open(log.name)) if entry.get("execution") == arn), None))
    check("a failed execution is a line of JSON with its ARN", bool(line) and line["status"] == "FAILED" and line["error"] == "Oh.No", line)

    run = subprocess.run([binary, "backup", "--json", "--data", data, saved], capture_output=True, text=True)
    check("a backup is made while the server runs", run.returncode == 0 and json.loads(run.stdout)["rows"] > 3, run.stdout + run.stderr)
    run = subprocess.run([binary, "backup", "--data", data, saved], capture_output=True, text=True)
    check("and never written over", run.returncode == 1 and "is there already" in run.stderr, run.stderr)
    # Four thousand times as fast: a day is 22 s.
    gone = until(lambda: not states.list_executions(stateMachineArn=machine)["executions"], 120)
    check("executions of long ago are forgotten", gone)

    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    answers = []
    polling = threading.Thread(target=lambda: answers.append(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)), daemon=True)
    polling.start()  # 20 s of its time are 5 ms of ours
    time.sleep(0.01)
    check("asked to stop, it ends well", server.stop() == 0)
    polling.join(10)
    check("and the request under way got its answer", len(answers) == 1 and "Messages" not in answers[0], answers)

    run = subprocess.run([binary, "restore", "--data", restored, saved], capture_output=True, text=True)
    check("a backup is put into an empty folder", run.returncode == 0 and run.stdout.startswith("Restored: "), run.stdout + run.stderr)
    run = subprocess.run([binary, "restore", "--data", restored, saved], capture_output=True, text=True)
    check("and never over state", run.returncode == 1 and "holds state already" in run.stderr, run.stderr)
    server = Server("--data", restored, "--no-workflows")
    check("its executions are back", client("stepfunctions", server.url).describe_execution(executionArn=arn)["status"] == "FAILED")
    server.stop()


def signatures(directory):
    print("signatures, when keys are given")
    keys = pathlib.Path(directory, "keys.json")
    keys.write_text(json.dumps({"AKIAEXAMPLE": "right"}))
    server = Server("--in-memory", "--no-workflows", "--access-keys", str(keys), "--mail", os.path.join(directory, "mail"))
    check("the right secret is accepted", client("sts", server.url, key="AKIAEXAMPLE", secret="right").get_caller_identity()["Account"] == "000000000000")
    for service, call in (("ec2", "describe_volumes"), ("stepfunctions", "list_state_machines"), ("sqs", "list_queues"), ("lambda", "list_functions")):
        getattr(client(service, server.url, key="AKIAEXAMPLE", secret="right"), call)()
        try:
            getattr(client(service, server.url, key="AKIAEXAMPLE", secret="wrong"), call)()
            check(f"{service} refuses a wrong secret", False)
        except botocore.exceptions.ClientError as e:
            check(f"{service} refuses a wrong secret", e.response["ResponseMetadata"]["HTTPStatusCode"] == 403, e)
    server.stop()


def the_terminal(directory):
    print("the terminal")
    demo = subprocess.run([binary, "demo"], capture_output=True, text=True)
    check("the demonstration holds all ten invariants", demo.returncode == 0 and demo.stdout.count("held  ") == 10, demo.stdout[-2000:] + demo.stderr)
    again = subprocess.run([binary, "demo"], capture_output=True, text=True)
    cut = lambda text: re.sub(r"in [0-9.]+ s, \d+ MiB", "", text)
    check("the same seed tells the same story", cut(demo.stdout) == cut(again.stdout))
    for seed in ("1", "2", "3"):
        run = subprocess.run([binary, "demo", "--seed", seed, "--days", "30", "--json"], capture_output=True, text=True)
        check(f"seed {seed} over 30 days", run.returncode == 0 and json.loads(run.stdout)["invariantsHeld"], run.stdout[-1500:])
    # Our workflows with their placeholders filled in, as a deployment fills them.
    filled = []
    for path in sorted((root / "workflows").glob("*.json")):
        text = re.sub(r"\$\{(\w+)FunctionArn\}", r"arn:aws:lambda:us-west-2:1:function:\1", path.read_text())
        filled.append(pathlib.Path(directory, path.name))
        filled[-1].write_text(text)
    good = subprocess.run([binary, "validate", *map(str, filled)], capture_output=True, text=True)
    check("validate accepts our workflows", len(filled) == 3 and good.returncode == 0 and good.stdout.count(": ok") == 3, good.stdout)
    bad = pathlib.Path(directory, "bad.json")
    bad.write_text('{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"}}}')
    run = subprocess.run([binary, "validate", "--json", str(bad)], capture_output=True, text=True)
    check("validate finds a missing target", run.returncode == 1 and json.loads(run.stdout)[0]["diagnostics"][0]["location"] == "/States/A/Next", run.stdout)
    for arguments in (["serve", "--dr-region", "moon-1"], ["serve", "--dr-region", "us-west-2"], ["serve", "--behaviour", "/nonexistent"]):
        run = subprocess.run([binary, *arguments], capture_output=True, text=True)
        check(f"{' '.join(arguments)} is refused in a sentence", run.returncode == 1 and run.stderr.startswith("snapward: "), run.stderr)
    run = subprocess.run([binary, "serve", "--store", "postgresql://x@127.0.0.1:1/x", "--host", "0.0.0.0"], capture_output=True, text=True)
    check("a node that others could not reach is refused", run.returncode == 1 and "--advertise" in run.stderr, run.stderr)
    check("--help has examples", "snapward serve" in subprocess.run([binary, "--help"], capture_output=True, text=True).stdout)


def main():
    directory = tempfile.mkdtemp(prefix="snapward-acceptance-")
    try:
        certificate = make_certificate(directory)
        server = Server("--data", os.path.join(directory, "data"), "--time-scale", "20", "--retention", "3", "--no-throttling", env={"SSL_CERT_FILE": certificate})
        check("the server says it is ready", " is ready on " in server.banner, server.banner)
        milliseconds = int(re.search(r"after (\d+) ms", server.banner)[1])
        print(f"         start-up took {milliseconds} ms")
        try:
            the_story_by_command_line(server.url)
            the_retention_by_boto3(server.url)
            failures_are_told(server.url, certificate)
            rules_by_hand(server.url)
            machines_of_every_kind(server.url)
            functions_and_logs(server.url)
            looking_at_it(server)
            broken_requests(server)
        finally:
            check("the server stops when asked", server.stop() == 0)
        a_killed_server_goes_on(os.path.join(directory, "killed"))
        a_full_disk(os.path.join(directory, "full"))
        a_read_only_disk(directory)
        operating_it(directory)
        signatures(directory)
        the_terminal(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    finish()


main()

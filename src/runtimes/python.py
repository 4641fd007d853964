# What runs a Python function: asks Lambda's Runtime API for events, one after another, and answers them. Errors are worded as Lambda's
# own runtime words them; files are named as they lie there, under /var/task.
import decimal
import http.client
import importlib
import json
import logging
import os
import sys
import time
import traceback

ROOT = os.environ["LAMBDA_TASK_ROOT"]
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
BASE = "/2018-06-01/runtime/invocation/"
sys.path.insert(0, ROOT)


class Context:
    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = json.loads(headers["Lambda-Runtime-Client-Context"]) if "Lambda-Runtime-Client-Context" in headers else None

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


class Encoder(json.JSONEncoder):
    def default(self, value):
        if isinstance(value, decimal.Decimal):
            return float(value)
        return super().default(value)


def error(message, kind, request_id="", trace=()):
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": list(trace)}


def raised(exception, request_id):
    frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(exception.__traceback__)]
    while frames and frames[0][0] in (__file__, importlib.__file__) or frames and frames[0][0].startswith("<frozen"):
        frames.pop(0)
    shown = [text.replace(ROOT, "/var/task") for text in traceback.format_list(frames)]
    return error(str(exception), type(exception).__name__, request_id, shown)


def find_handler(name):
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as e:
        return None, error(f"Bad handler '{name}': {e}", "Runtime.MalformedHandlerName")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as e:
        return None, error(f"Unable to import module '{module_name}': {e}", "Runtime.ImportModuleError")
    except SyntaxError as e:
        shown = f'  File "/var/task/{os.path.relpath(e.filename or "", ROOT)}" Line {e.lineno}\n    {e.text or ""}'
        return None, error(f"Syntax error in module '{module_name}': {e}", "Runtime.UserCodeSyntaxError", "", [shown])
    except BaseException as e:
        return None, raised(e, "")
    try:
        return getattr(module, function_name), None
    except AttributeError:
        return None, error(f"Handler '{function_name}' missing on module '{module_name}'", "Runtime.HandlerNotFound")


def answer(handler, body, context):
    """The answer's bytes, and the error or None."""
    try:
        event = json.loads(body)
    except ValueError as e:
        return None, error(f"Unable to unmarshal input: {e}", "Runtime.UnmarshalError", context.aws_request_id)
    try:
        result = handler(event, context)
    except BaseException as e:  # SystemExit too: the environment lives on
        return None, raised(e, context.aws_request_id)
    if isinstance(result, bytes):  # Lambda's runtime sends bytes as they are
        return result, None
    try:
        return json.dumps(result, cls=Encoder, ensure_ascii=False, allow_nan=False).encode(), None
    except (TypeError, ValueError) as e:
        return None, error(f"Unable to marshal response: {e}", "Runtime.MarshalError", context.aws_request_id)


def main():
    logging.basicConfig(stream=sys.stdout, format="[%(levelname)s]\t%(asctime)s\t%(name)s\t%(message)s", force=True)
    handler, broken = find_handler(os.environ["_HANDLER"])
    api = http.client.HTTPConnection(API)
    while True:
        api.request("GET", BASE + "next")
        response = api.getresponse()
        body = response.read()
        if response.status != 200:
            sys.exit(0)
        context = Context(response.headers)
        result, failed = (None, broken) if broken else answer(handler, body, context)
        if failed:
            print(f"[ERROR] {failed['errorType']}: {failed['errorMessage']}")
            for line in failed["stackTrace"]:
                print(line.rstrip("\n"))
        sys.stdout.flush()
        sys.stderr.flush()
        path, text = ("error", json.dumps(failed, ensure_ascii=False).encode()) if failed else ("response", result)
        api.request("POST", f"{BASE}{context.aws_request_id}/{path}", text, {"Content-Type": "application/json"})
        api.getresponse().read()


try:
    main()
except (ConnectionError, http.client.HTTPException):
    sys.exit(0)  # the server is gone

#!/usr/bin/env python3
"""The suites of answers that AWS recorded, run against the real binary; writes docs/conformance.md from their reports.

usage: run.py BINARY TESTS [--report] [SUITE...]      suites: stepfunctions events scheduler patterns ruler jsonata sqs sns ...
   BINARY, TESTS           snapward and snapward_tests
   --report                run nothing: read the reports of an earlier run
   SUITE...                print the figures of these, and leave the page alone
   SNAPWARD_CONFORMANCE    folder of the harness: run-all.sh, which takes the binary and the suites
   MIRRORS                 what the harness makes its upstream checkouts from
   SCRATCH                 where it keeps checkouts and reports [build/conformance]

Every case that fails needs a reason in reasons.txt. Exit code 0: each has one, and no reason is left over.
"""
import collections
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent.parent
page = root / "docs/conformance.md"
SUITES = {
    "stepfunctions": "Step Functions",
    "events": "EventBridge",
    "scheduler": "EventBridge Scheduler",
    "patterns": "Event patterns, by TestEventPattern",
    "ruler": "event-ruler's own cases, by TestEventPattern",
    "jsonata": "JSONata's own suite",
    "sqs": "SQS",
    "sns": "SNS",
    "lambda": "Lambda",
    "logs": "CloudWatch Logs",
    "secretsmanager": "Secrets Manager",
    "s3": "S3",
    "cloudformation": "CloudFormation",
}
DEFAULT = ("stepfunctions", "events", "scheduler", "patterns", "ruler", "jsonata", "sqs", "sns")
GROUPS = {"core": "alone", "lambda": "with Lambda", "services": "with other services"}

Row = collections.namedtuple("Row", "name cases passed strict skipped")
Failure = collections.namedtuple("Failure", "case what")
Reason = collections.namedtuple("Reason", "suite pattern text line")


def stop(sentence):
    sys.exit(f"conformance: {sentence}")


# What a suite's report says: its rows of the table, and its failures.


def recorded(suite, scratch):
    tests = json.loads((scratch / f"{suite}.json").read_text())["tests"]

    def row(name, some):
        count = collections.Counter(t["outcome"] for t in some)
        return Row(name, len(some) - count["skipped"], count["passed"], sum(bool(t.get("strict")) for t in some), count["skipped"])

    rows = [row(SUITES[suite], tests)]
    if suite == "stepfunctions":
        rows = [row(f"{SUITES[suite]}, {text}", [t for t in tests if t["group"] == group]) for group, text in GROUPS.items()]
    failures = [Failure(t["id"].split("/")[-1], difference(t)) for t in tests if t["outcome"] not in ("passed", "skipped")]
    return rows, failures


def difference(test):
    first = (test.get("first_diffs") or [None])[0]
    needs = "needs " + " ".join(test.get("needs", [])) + "; " if test.get("needs") else ""
    if first and test.get("kind") == "difference":
        return f"{needs}{first['path']}: AWS {first['expected']}, here {first['actual']}"
    return needs + (test.get("error") or "")


def patterns(suite, scratch):
    text = (scratch / f"{suite}.txt").read_text()
    total = re.search(r"^TOTAL +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)", text, re.M)
    if not total:
        stop(f"the report of {suite} has no total; did the suite run?")
    cases, passed, strict, _, skipped = map(int, total.groups())
    failures = [Failure(*found) for found in re.findall(r"^FAILED (.+?): (expected .*)$", text, re.M)]
    return [Row(SUITES[suite], cases - skipped, passed, strict, skipped)], failures


def jsonata(suite, scratch):
    text = (scratch / "jsonata.txt").read_text()
    total = re.search(r"^jsonata test suite: (\d+) passed, (\d+) failed", text, re.M)
    if not total:
        stop("the report of jsonata has no total; did the suite run?")
    passed, failed = map(int, total.groups())
    found = re.findall(r"^(groups/\S+\.json): (.*)\n   wanted (.*)\n   got    (.*)$", text, re.M)
    failures = [Failure(f"{case}: {expression}", f"wanted {wanted}, got {got}") for case, expression, wanted, got in found]
    return [Row(SUITES[suite], passed + failed, passed, passed, 0)], failures


def read_report(suite, scratch):
    reader = {"patterns": patterns, "ruler": patterns, "jsonata": jsonata}.get(suite, recorded)
    try:
        return reader(suite, scratch)
    except FileNotFoundError as error:
        stop(f"there is no report of {suite} ({error.filename})")


# Why a case fails.


def read_reasons(path):
    """Lines of "SUITE PATTERN -> REASON". The pattern, a regular expression without spaces around it, is looked for in "case: difference"."""
    reasons = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = re.fullmatch(r"(\w+) +(.+?) +-> +(.+)", line)
        if not found or found[1] not in SUITES:
            stop(f"{path.name}, line {number}: a reason is 'SUITE PATTERN -> REASON'")
        reasons.append(Reason(found[1], re.compile(found[2]), found[3], number))
    return reasons


def explain(suite, failures, reasons):
    """The failures by reason, in the order of the reasons; None: unexplained. And the reasons that no failure needs."""
    by_reason = collections.defaultdict(list)
    mine = [r for r in reasons if r.suite == suite]
    for failure in failures:
        text = f"{failure.case}: {failure.what}"
        by_reason[next((r for r in mine if r.pattern.search(text)), None)].append(failure)
    return by_reason, [r for r in mine if r not in by_reason]


# The page.


def table(suites):
    yield "| suite | cases | passed | exact | not run |"
    yield "|---|--:|--:|--:|--:|"
    for rows, _ in suites.values():
        for r in rows:
            share = f" ({r.passed / r.cases:.1%})" if r.cases else ""
            yield f"| {r.name} | {r.cases} | {r.passed}{share} | {r.strict} | {r.skipped} |"


def explanations(suites):
    for suite, (_, by_reason) in suites.items():
        if by_reason:
            yield from (f"### {SUITES[suite]}", "")
        for reason, failures in sorted(by_reason.items(), key=lambda item: item[0].line if item[0] else 0):
            yield from (f"**{reason.text if reason else 'Unexplained'}** ({len(failures)})", "")
            yield from (f"- `{one_line(f.case, 160)}`: {escape(one_line(f.what, 240))}" for f in failures)
            yield ""


def page_of(suites, version):
    lines = [
        "# Conformance", "",
        "Answers that AWS gave, recorded in public test suites, beside Snapward's. Written by `./dev conformance`; do not edit.", "",
        f"{datetime.date.today().isoformat()}, commit {version}.", "",
        *table(suites), "",
        "*passed*: equal, except for members that the suite itself leaves out of its comparison for that case. *exact*: everything recorded is equal.",
        "*not run*: the case has no recording made at AWS, or needs tools that the harness does not have.", "",
        "## What fails, and why", "",
        *explanations(suites),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def one_line(text, most):
    text = " ".join(text.split())
    return text if len(text) <= most else text[:most] + "…"


def escape(text):
    return re.sub(r"([<>*_|`\[\]])", r"\\\1", text)


def run_suites(binary, tests, names, scratch):
    harness = os.environ.get("SNAPWARD_CONFORMANCE", "")
    script = pathlib.Path(harness) / "run-all.sh"
    if not harness or not script.exists():
        stop("the harness is missing: set SNAPWARD_CONFORMANCE to the folder with its run-all.sh (tests/conformance/README.md)")
    if "MIRRORS" not in os.environ and not (scratch / "localstack").is_dir():
        stop("the upstream checkouts are missing: set MIRRORS to the folder that the harness makes them from, or SCRATCH to where they are")
    environment = {"MIRRORS": "none", **os.environ, "SCRATCH": str(scratch), "JSONATA_TESTS": str(pathlib.Path(tests).resolve())}
    if subprocess.run([script, binary, *names], env=environment).returncode != 0:
        stop("the harness could not run the suites; its last lines say why")


def main():
    arguments = [a for a in sys.argv[1:] if a != "--report"]
    if len(arguments) < 2:
        sys.exit(__doc__)
    binary, tests, *chosen = arguments
    names = chosen or DEFAULT
    if unknown := [n for n in names if n not in SUITES]:
        stop(f"there is no suite '{unknown[0]}'; there are {', '.join(SUITES)}")
    scratch = pathlib.Path(os.environ.get("SCRATCH", root / "build/conformance")).resolve()
    if "--report" not in sys.argv:
        run_suites(binary, tests, names, scratch)
    reasons = read_reasons(root / "tests/conformance/reasons.txt")
    suites, left_over = {}, []
    for suite in names:
        rows, failures = read_report(suite, scratch)
        by_reason, unused = explain(suite, failures, reasons)
        suites[suite] = rows, by_reason
        left_over += unused
    version = subprocess.run(["git", "-C", root, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
    if chosen:
        print("\n".join([*table(suites), "", *explanations(suites)]))
    else:
        page.write_text(page_of(suites, version))
    unexplained = sum(len(by_reason.get(None, [])) for _, by_reason in suites.values())
    print(f"{unexplained} failures without a reason" + ("" if chosen else f"; {page.relative_to(root)} is written"))
    for r in left_over:
        print(f"reasons.txt, line {r.line}: no failing case of {r.suite} matches '{r.pattern.pattern}' any more")
    sys.exit(1 if unexplained or left_over else 0)


main()

#!/usr/bin/env python3
"""Do the simulator and the crash campaign bite? Each mutant is the product with one deliberate mistake, built for real; it must be caught.

usage: mutants.py BUILD [--sample N | NAME…]   BUILD: a built folder, such as build/release. Nothing in the tree or the folder is changed.
--sample: N of them; which ones follows from the commit, so that they all have their turn and a failure can be repeated.
A mutant names the invariant that its mistake breaks first of all; it counts as caught when the simulator reports that one. The last
ones are caught by killing the server (tests/crash), or by attacking it (tests/security: the script and the attack are named).
Exit code 0: every mutant was caught.
"""
import json
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
import tempfile

SEEDS, STEP = 300, 20  # of each mutant at most, and at a time

# name, the invariant, the file, then what stands there and what is put in its place, once or more
MUTANTS = [
    ("keeps one too few", 1, "src/snapshots/retention.cpp", "if (counted <= retention)", "if (counted < retention)"),
    ("prunes what has no copy yet", 2, "src/snapshots/retention.cpp", "else if (newest_unconfirmed)", "else if (newest_unconfirmed && counted < 0)"),
    ("copies without looking first", 3, "src/snapshots/tasks.cpp", "const bool made = copy_id.empty();", "const bool made = true;"),
    ("forgets a copy it has just asked for", 3, "src/snapshots/tasks.cpp", "if (copy_id.empty()) copy_id = just_asked_for;", ""),
    ("looks at once when an answer was lost", 3, "src/snapshots/tasks.cpp", "constexpr Duration kCopySettles = std::chrono::seconds(15);", "constexpr Duration kCopySettles = std::chrono::seconds(0);"),
    ("gives up at the copy limit, quietly", 4, "src/snapshots/tasks.cpp", "    if (!reply) co_return failure(reply.error());\n    copy_id", '    if (!reply) co_return Json::object({{"superseded", false}, {"copyId", "none"}, {"drRegion", to}, {"made", false}});\n    copy_id'),
    ("believes a copy that was only accepted", 4, "src/snapshots/tasks.cpp", 'std::string state = *copy ? (*copy)->state : "missing";', 'std::string state = "completed";'),
    ("stops at the first that cannot be deleted", 5, "src/snapshots/tasks.cpp", "  for (const Decision& d : plan) {", "  for (const Decision& d : std::vector<Decision>(plan.rbegin(), plan.rend())) {",
     "      undeletable.push_back(", "      if (true) co_return failure(reply.error());\n      undeletable.push_back("),
    ("takes a failed snapshot for a good one", 6, "src/snapshots/tasks.cpp", 'if (a->failed || s.state == "error") co_return co_await failed_snapshot(cloud_, *a, s, s.volume_id);', ""),
    ("does not tell", 6, "src/snapshots/tasks.cpp", "if (settings->topic_arn.empty())", "if (!settings->topic_arn.empty())"),
    ("manages every volume", 7, "src/snapshots/selection.cpp", 'if (settings.tag == "none")', 'if (settings.tag != "none")'),
    ("does not reconcile", 8, "src/snapshots/tasks.cpp", "    if (dealt_with) continue;", "    continue;"),
    ("takes what is not shown yet for gone", 6, "src/snapshots/tasks.cpp", "if (now - a.at >= kVisibleAfter)", "if (now >= a.at)"),
    ("performs before it has saved", 9, "src/services/sns/publishing.cpp", "env_.ledger.after_commit([this, id] { attempt(id); });", "attempt(id);"),
    ("forgets late events", 8, "src/services/ec2/snapshots.cpp", 'save("late_events"', 'if (false) save("late_events"'),
    ("forgets tasks and timers at a restart", 10, "src/engine/executions.cpp", "  note(live, step);\n  if (live.unfinished) resume_later(live);\n  return true;", "  return true;"),
    ("writes no journal", 10, "src/engine/executions.cpp", "ledger_.put(kInputs,", "if (live.inputs++ > 1) ledger_.put(kInputs,"),
    ("skips a part of the history", 10, "src/engine/executions.cpp", "if (!step.history.empty() && !live.express)", "if (!step.history.empty() && live.inputs != 2)"),
    ("answers before it has saved", "crash", "src/edge/front.cpp", "ledger_.answer_after_commit([done, reply] {", "loop_.defer([done, reply] {"),
    ("believes a flush after one that failed", "power cuts", "src/store/row_file.cpp", "if (exactly == SQLITE_IOERR_FSYNC || exactly == SQLITE_IOERR_DIR_FSYNC)", "if (exactly == SQLITE_IOERR_DIR_FSYNC)"),
    ("answers before the journal is flushed", "power cuts", "src/store/journal.cpp", "if (::fdatasync(file.descriptor) != 0)", "if (false)"),
    ("forgets what is in the journal only", "crash", "src/store/row_file.cpp", "const Journal::Group& group : *groups", "const Journal::Group& group : std::vector<Journal::Group>()"),
    ("takes bytes of clients for records", "attack journal.py", "src/store/journal.cpp",
     "return salt ? static_cast<std::uint32_t>(XXH3_64bits_withSeed(&kMagic, sizeof kMagic, *salt)) : kMagic;", "return kMagic;",
     "const std::uint64_t seed = salt ? XXH3_64bits_withSeed(&number, sizeof number, *salt) : number;", "const std::uint64_t seed = number;"),
    ("takes any file for its journal", "attack journal.py", "src/store/journal.cpp", "if (*salt != key.salt && *salt != key.former)", "if (false)"),
    ("lets unsigned requests in", "attack run.py: unsigned requests", "src/edge/authentication.cpp", "if (!to.scope) return refused(request, to, request.headers.find(\"authorization\") ? Reason::incomplete : Reason::missing);", "if (!to.scope) return {};"),
    ("takes any signature", "attack run.py: signatures with gaps", "src/edge/authentication.cpp", "if (v.verdict != wire::Verdict::valid) return", "if (v.verdict == wire::Verdict::malformed) return"),
    ("takes any session token", "attack run.py: signatures with gaps", "src/edge/authentication.cpp", "if (token.empty()) {", "if (!token.starts_with(\"x\")) {"),
    ("takes keys without a secret", "attack run.py: a keys file that protects nothing", "src/edge/authentication.cpp", "if (secret.string_or().empty())", "if (secret.is_array())"),
    ("does not ask which headers are signed", "attack run.py: signatures with gaps", "src/wire/sigv4.cpp", "!name.empty()) return verdict(Verdict::not_signed", "name == \"x\") return verdict(Verdict::not_signed"),
    ("takes unsigned bodies for every service", "attack run.py: signatures with gaps", "src/wire/sigv4.cpp", 'const bool s3 = claim.scope.service == "s3";', "const bool s3 = !claim.scope.service.empty();"),
    ("does not check the pieces of a body", "attack run.py: pieces that were altered", "src/wire/chunked.cpp", "return same_secret(last_, given);", "return !given.empty();"),
    ("answers pages of any origin", "attack run.py: a page of another site", "src/edge/origin.cpp", "if (!allowed_origin(request).empty() || is_own_origin(*origin, own)) return std::nullopt;", "return std::nullopt;"),
    ("does not ask which site a request is of", "attack run.py: a page of another site", "src/edge/origin.cpp", "if (foreign) return", "if (foreign && own.empty()) return"),
    ("lets links be operations", "attack run.py: a page of another site", "src/edge/origin.cpp", "if (is_navigation(request) && !is_page(request)) {", "if (is_navigation(request) && own.empty()) {"),
    ("answers for any name", "attack run.py: a name that resolves to this machine", "src/edge/origin.cpp", "if (!name || !is_ours(*name))", "if (!name)"),
    ("writes without waiting until there is room", "attack run.py: clients that do not read", "src/net/server.cpp", "asio::async_write(stream_, asio::buffer(kContinue), [self = shared_from_this()](beast::error_code e, std::size_t) {\n      if (e) return self->close();\n      self->read_body();\n    });", "beast::error_code ignored;\n    stream_.socket().write_some(asio::buffer(kContinue), ignored);\n    read_body();"),
    ("makes no room for others", "attack run.py: requests that never end", "src/net/server.cpp", "hall_.waiting.front()->make_way();", ";"),
    ("reads any transfer coding", "attack run.py: requests that are read in two ways", "src/net/server.cpp", "if (codings > 1 ||", "if (codings > 9 &&"),
    ("takes line breaks in endpoints", "attack run.py: line breaks in what goes out", "src/services/sns/sns.cpp", "has_control(endpoint) ||", ""),
    ("sends line breaks in headers", "attack run.py: line breaks in what goes out", "src/net/client.cpp", "if (!is_sendable(*parsed, request))", "if (request.method.empty())"),
    ("logs line breaks", "attack run.py: line breaks in what goes out", "src/base/log.cpp", "if (!has_control(text)) return", "if (!text.empty()) return"),
    ("steps without a budget", "attack endless.py: a circle of states with a large variable", "src/asl/interpreter.cpp", "if (input.budget > 0 && entered == input.budget) {", "if (input.budget < 0) {"),
    ("computes on the loop", "attack endless.py: expressions that compute for long", "src/engine/executions.cpp", "l.aside = stepper_ && (version.machine->computes_long || slow(version.revision));", "l.aside = false;",
     "if (!stepper_ || took < kLongStep) return;", "if (took >= Duration(0)) return;"),
]
KILLS = 60  # of those

root = pathlib.Path(__file__).resolve().parent.parent.parent


def run(command, **more):
    return subprocess.run(command, text=True, capture_output=True, **more)


def mutant(build, commands, scratch, name, file, *edits):
    """The path of a binary with the mistake in it."""
    source = root / file
    text = source.read_text()
    for old, new in zip(edits[::2], edits[1::2]):
        if text.count(old) != 1:
            sys.exit(f"mutants.py: '{name}': '{old}' stands {text.count(old)} times in {file}, not once; bring the mutant up to date")
        text = text.replace(old, new)
    mutated = scratch / "mutant.cpp"
    mutated.write_text(text)
    command = shlex.split(commands[str(source)])
    command = command[: command.index("-o")] + ["-O1", "-w", "-o", str(scratch / "mutant.o"), "-c", str(mutated)]
    done = run([c for c in command if c != str(source)], cwd=build)
    if done.returncode:
        sys.exit(f"mutants.py: '{name}' does not compile:\n{done.stderr[-3000:]}")
    # The mutant's object comes first, so that the library's own is not taken.
    link = run(["ninja", "-C", str(build), "-t", "commands", "-s", "snapward"]).stdout.strip().splitlines()[-1]
    link = re.sub(r"-o snapward\b", f"{scratch / 'mutant.o'} -o {scratch / 'mutant'}", link)
    done = run(["sh", "-c", link], cwd=build)
    if done.returncode:
        sys.exit(f"mutants.py: '{name}' does not link:\n{done.stderr[-3000:]}")
    return scratch / "mutant"


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    commands = {c["file"]: c["command"] for c in json.loads((build / "compile_commands.json").read_text())}
    names = sys.argv[2:]
    if names[:1] == ["--sample"]:
        commit = run(["git", "-C", str(root), "rev-parse", "HEAD"]).stdout.strip()
        names = [m[0] for m in random.Random(commit).sample(MUTANTS, int(names[1]))]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        for name, invariant, file, *edits in MUTANTS:
            if names and name not in names:
                continue
            binary = mutant(build, commands, scratch, name, file, *edits)
            found = {}
            if isinstance(invariant, str) and invariant.startswith("attack "):
                script, _, attack = invariant.removeprefix("attack ").partition(": ")
                report = run([sys.executable, str(root / "tests/security" / script), str(binary), *([attack] if attack else [])], timeout=600)
                broken = re.findall("(?:BROKEN|FAILED) (.*)", report.stdout)
                found = {invariant: ("-", broken[0])} if broken else {}
            elif isinstance(invariant, str):
                how = ["--power-cuts", "--library", str(build / "libsnapward_disk.so")] if invariant == "power cuts" else []
                report = run([sys.executable, str(root / "tests/crash/run.py"), str(binary), "--kills", str(KILLS), *how], timeout=600)
                violations = re.findall("VIOLATION (.*)", report.stdout)
                found = {invariant: ("-", violations[0])} if violations else {}
            for first in range(1, SEEDS, STEP) if isinstance(invariant, int) else []:
                report = run([str(binary), "simulate", "--json", "--from", str(first), "--seeds", str(STEP)], timeout=600)
                if not report.stdout:
                    sys.exit(f"mutants.py: '{name}' ended with {report.returncode} instead of a report: {report.stderr[-300:]}")
                for broken in json.loads(report.stdout)["broken"]:
                    for breach in broken["breaches"]:
                        n = int(re.match(r"invariant (\d+)", breach).group(1))
                        found.setdefault(n, (broken["seed"], breach))
                if invariant in found:
                    break
            caught = invariant in found
            missed += not caught
            seed, breach = found.get(invariant, ("-", f"only {sorted(map(str, found))} broke" if found else "nothing broke"))
            print(f"  {'caught' if caught else 'MISSED'} {name}: seed {seed}: {breach[:150]}", flush=True)
    print(f"{len(names) or len(MUTANTS)} mutants, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

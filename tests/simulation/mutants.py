#!/usr/bin/env python3
"""Do the simulator and the crash campaign bite? Each mutant is the product with one deliberate mistake, built for real; it must be caught.

usage: mutants.py BUILD [NAME…]   BUILD: a built folder, such as build/release. Nothing in the tree or the folder is changed.
A mutant names the invariant that its mistake breaks first of all; it counts as caught when the simulator reports that one. The last
ones are caught by killing the server (tests/crash), or by a client that stores journals (tests/security/journal.py).
Exit code 0: every mutant was caught.
"""
import json
import os
import pathlib
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
    ("performs before it has saved", 9, "src/services/sns/sns.cpp", "env_.ledger.after_commit([this, id] { attempt(id); });", "attempt(id);"),
    ("forgets late events", 8, "src/services/ec2/snapshots.cpp", 'save("late_events"', 'if (false) save("late_events"'),
    ("forgets tasks and timers at a restart", 10, "src/engine/executions.cpp", "    note(l, l.execution.step(in));", "    l.execution.step(in);"),
    ("writes no journal", 10, "src/engine/executions.cpp", "ledger_.put(kInputs,", "if (live.inputs++ > 1) ledger_.put(kInputs,"),
    ("skips a part of the history", 10, "src/engine/executions.cpp", "if (!step.history.empty() && !live.express)", "if (!step.history.empty() && live.inputs != 2)"),
    ("answers before it has saved", "crash", "src/edge/front.cpp", "ledger_.answer_after_commit([done, reply] {", "loop_.defer([done, reply] {"),
    ("believes a flush after one that failed", "power cuts", "src/store/row_file.cpp", "if (exactly == SQLITE_IOERR_FSYNC || exactly == SQLITE_IOERR_DIR_FSYNC)", "if (exactly == SQLITE_IOERR_DIR_FSYNC)"),
    ("answers before the journal is flushed", "power cuts", "src/store/journal.cpp", "if (::fdatasync(file.descriptor) != 0)", "if (false)"),
    ("forgets what is in the journal only", "crash", "src/store/row_file.cpp", "const Journal::Group& group : *groups", "const Journal::Group& group : std::vector<Journal::Group>()"),
    ("takes bytes of clients for records", "journal", "src/store/journal.cpp",
     "return salt ? static_cast<std::uint32_t>(XXH3_64bits_withSeed(&kMagic, sizeof kMagic, *salt)) : kMagic;", "return kMagic;",
     "const std::uint64_t seed = salt ? XXH3_64bits_withSeed(&number, sizeof number, *salt) : number;", "const std::uint64_t seed = number;"),
    ("takes any file for its journal", "journal", "src/store/journal.cpp", "if (*salt != key.salt && *salt != key.former)", "if (false)"),
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
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        for name, invariant, file, *edits in MUTANTS:
            if sys.argv[2:] and name not in sys.argv[2:]:
                continue
            binary = mutant(build, commands, scratch, name, file, *edits)
            found = {}
            if invariant == "journal":
                report = run([sys.executable, str(root / "tests/security/journal.py"), str(binary)], timeout=600)
                violations = re.findall("FAILED (.*)", report.stdout)
                found = {invariant: ("-", violations[0])} if violations else {}
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
    print(f"{len(MUTANTS) if not sys.argv[2:] else len(sys.argv[2:])} mutants, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

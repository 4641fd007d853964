#!/usr/bin/env python3
"""Makes a packing dictionary (docs/adr/0011) out of the rows of data folders.

usage: train_dictionary.py OUT DATA_FOLDER…
The rows of packed tables are its samples, at most PER_KIND of each table and shape, so that no kind of row crowds out the others. Needs
the program `zstd`. A dictionary in use stays as it is: rows refer to it. A new one gets a new number, and the old one stays beside it.
"""
import collections
import pathlib
import random
import sqlite3
import subprocess
import sys
import tempfile

NUMBER = 40001  # above 32767: those are nobody's
LARGEST = 16384
PER_KIND = 400
RARE = {"states.definitions", "lambda.code", "s3.bodies"}  # long, and few; or anybody's


def rows(folder, known):
    db = sqlite3.connect(f"file:{folder}/snapward.db?mode=ro", uri=True)
    for table, key, value in db.execute("SELECT tbl, key, value FROM rows"):
        value = value if isinstance(value, bytes) else str(value).encode()
        if value[:4] == b"\x28\xb5\x2f\xfd":
            command = ["zstd", "-dc"] + (["-D", str(known)] if known.exists() else [])
            done = subprocess.run(command, input=value, capture_output=True)
            if done.returncode:
                continue
            value = done.stdout
        table = table.decode() if isinstance(table, bytes) else table
        if table not in RARE:
            yield table, value


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    known = pathlib.Path(__file__).resolve().parent.parent / "src/store/dictionary.zdict"
    kinds = collections.defaultdict(list)
    for folder in sys.argv[2:]:
        for table, value in rows(folder, known):
            kinds[table, value[:1]].append(value)
    random.seed(1)
    with tempfile.TemporaryDirectory() as scratch:
        n = 0
        for (table, _), values in sorted(kinds.items()):
            chosen = random.sample(values, min(PER_KIND, len(values)))
            print(f"{table}: {len(chosen)} of {len(values)} rows, {sum(map(len, chosen))} bytes")
            for value in chosen:
                if len(value) >= 64:
                    (pathlib.Path(scratch) / f"{n:06}").write_bytes(value)
                    n += 1
        subprocess.run(["zstd", "-q", "-1", "-f", "--train", "-r", scratch, f"--maxdict={LARGEST}", f"--dictID={NUMBER}", "-o", sys.argv[1]], check=True)


main()

#!/usr/bin/env python3
"""Checks that every include points down: tools/layers.txt says which folder may include which."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
allowed = {}
for line in (root / "tools/layers.txt").read_text().splitlines():
    line = line.split("#")[0].strip()
    if line:
        folder, _, rest = line.partition(":")
        allowed[folder] = {folder, *rest.split()}

problems = []
for path in sorted((root / "src").rglob("*.[ch]pp")):
    folder = path.relative_to(root / "src").parts[0]
    for number, text in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#include "([^"]+)"', text)
        if not match:
            continue
        target = match[1].split("/")[0]
        if folder not in allowed:
            problems.append(f"{path.relative_to(root)}:{number}: the folder '{folder}' is not in tools/layers.txt")
        elif target not in allowed[folder] and not (path.name.endswith("_test.cpp") and target == "support"):
            problems.append(f"{path.relative_to(root)}:{number}: includes {match[1]}; '{folder}' may include only {' '.join(sorted(allowed[folder]))}")
        # Wire's insides are its own, and so are a service's.
        if match[1] == "wire/codec.hpp" and folder != "wire":
            problems.append(f"{path.relative_to(root)}:{number}: wire/codec.hpp is for wire alone")
print("\n".join(problems) or f"layers: every include points down ({len(allowed)} folders)")
sys.exit(1 if problems else 0)

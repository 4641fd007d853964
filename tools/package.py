#!/usr/bin/env python3
"""Packs snapward_lambda for AWS Lambda: the program without its debug information, the shared libraries that it was linked with, the C
library's loader, and a `bootstrap` that starts it all. So it does not matter which C library the runtime has.

usage: package.py PROGRAM ZIP
The same inputs give the same bytes: deploying again what did not change changes nothing.
"""
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import zipfile

BOOTSTRAP = """#!/bin/sh
# Certificates stand where the runtime's system has them, not where the program's does.
for bundle in /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/certs/ca-certificates.crt; do
  [ -z "$SSL_CERT_FILE" ] && [ -r "$bundle" ] && export SSL_CERT_FILE="$bundle"
done
exec "$LAMBDA_TASK_ROOT/lib/{loader}" --library-path "$LAMBDA_TASK_ROOT/lib" "$LAMBDA_TASK_ROOT/snapward-lambda"
"""


def libraries(program):
    """The files of the shared libraries, by the names the loader asks for, and the loader's name."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    found, loader = {}, None
    for line in listing.splitlines():
        if match := re.match(r"\s*(\S+) => (/\S+)", line):
            found[match[1]] = match[2]
        elif match := re.match(r"\s*(/\S*/(ld-linux\S*)) ", line):
            loader = match[2]
            found[loader] = match[1]
        elif "not found" in line:
            sys.exit(f"package.py: a library of {program} is missing: {line.strip()}")
    if not loader:
        sys.exit(f"package.py: {program} is not a program that is linked with shared libraries")
    return found, loader


def main(program, target):
    found, loader = libraries(program)
    with tempfile.TemporaryDirectory() as folder:
        stripped = pathlib.Path(folder) / "snapward-lambda"
        subprocess.run(["llvm-strip-19", "-o", stripped, program], check=True)
        files = {"bootstrap": BOOTSTRAP.replace("{loader}", loader).encode(), "snapward-lambda": stripped.read_bytes()}
        files.update({"lib/" + name: pathlib.Path(file).read_bytes() for name, file in sorted(found.items())})
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, content in files.items():
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o100755 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    size = pathlib.Path(target).stat().st_size
    print(f"{target}: {size / 1e6:.1f} MB, {sum(map(len, files.values())) / 1e6:.1f} MB unpacked, architecture {machine}")


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(sys.argv[1], sys.argv[2])

#!/usr/bin/env python3
"""A PostgreSQL of the tests' own: a fresh cluster in a temporary folder, on a free port of the loopback, gone at the end.

usage: postgres.py COMMAND...    runs the command with SNAPWARD_TEST_POSTGRES set to its URL
"""
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile

USER = "postgres"


def free_port(address="127.0.0.1"):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    def __init__(self, listen="127.0.0.1", prefix=()):
        self.prefix, self.bin = list(prefix), programs()
        if not self.bin:
            raise SystemExit("PostgreSQL is not installed: './dev setup' installs it")
        self.folder = tempfile.mkdtemp(prefix="snapward-postgres-")
        self.port = free_port()
        self.as_user = []
        if os.geteuid() == 0:  # it does not run as root
            user = pwd.getpwnam(USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.as_user = ["runuser", "-u", USER, "--"]
        self.data = f"{self.folder}/data"
        self._run("initdb", "-D", self.data, "-U", "snapward", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-instructions")
        with open(f"{self.data}/pg_hba.conf", "a") as hba:
            hba.write("host all all 0.0.0.0/0 trust\n")
        with open(f"{self.data}/postgresql.conf", "a") as conf:
            conf.write(f"listen_addresses='{listen}'\nport={self.port}\nunix_socket_directories='{self.folder}'\n")
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "30", "-l", f"{self.folder}/log", "start")
        self.host = listen if listen not in ("*", "0.0.0.0") else "127.0.0.1"
        self.url = f"postgresql://snapward@{self.host}:{self.port}/postgres"

    def _run(self, program, *arguments, check=True):
        run = subprocess.run([*self.prefix, *self.as_user, str(self.bin / program), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd="/")
        if check and run.returncode:
            raise SystemExit(f"{program} failed: {run.stdout}")
        return run.stdout

    def sql(self, text):
        return self._run("psql", "-h", self.folder, "-p", str(self.port), "-U", "snapward", "-d", "postgres", "-AtXqc", text).strip()

    def restart(self):
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "fast", "-l", f"{self.folder}/log", "restart")

    def stop(self):
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == "__main__":
    server = Postgres()
    try:
        code = subprocess.run(sys.argv[1:], env=dict(os.environ, SNAPWARD_TEST_POSTGRES=server.url)).returncode
    finally:
        server.stop()
    sys.exit(code)

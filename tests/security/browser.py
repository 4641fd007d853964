#!/usr/bin/env python3
"""A page of another origin in a real Chromium: it must neither change anything nor read an answer.

usage: browser.py BINARY      skipped, with the reason, where Chromium is not installed
Exit code 0: held, or skipped.
"""
import http.server
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import run

# Every way in which a page makes its browser send something without asking first, and one that asks.
PAGE = """<!doctype html><title>evil</title><body><img src="{at}/?Action=CreateTopic&Name=image&Version=2010-03-31">
<form id=f method=post action="{at}/?Action=CreateTopic&Name=form&Version=2010-03-31" target=frame></form><iframe name=frame></iframe>
<iframe src="{at}/?Action=CreateTopic&Name=frame&Version=2010-03-31"></iframe>
<script>
document.getElementById("f").submit();
const out = [];
const attempts = {{
  simple: [`{at}/?Action=CreateTopic&Name=simple&Version=2010-03-31`, {{method: "POST", mode: "no-cors", body: "x"}}],
  read: [`{at}/?Action=ListTopics&Version=2010-03-31`, {{}}],
  preflight: [`{at}/`, {{method: "POST", headers: {{"X-Amz-Target": "AWSStepFunctions.ListStateMachines"}}, body: "{{}}"}}],
}};
Promise.all(Object.entries(attempts).map(async ([name, [url, how]]) => {{
  try {{ const r = await fetch(url, how); out.push(`${{name}}=${{r.type === "opaque" ? "opaque" : r.status}}`); }} catch {{ out.push(`${{name}}=blocked`); }}
}})).then(() => document.body.append("RESULT " + out.sort().join(" ") + " END"));
</script>"""


def serve(page):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def visit(chromium, url, folder):
    done = subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=8000",
                           "--host-resolver-rules=MAP evil.example 127.0.0.1", "--dump-dom", url], capture_output=True, text=True, timeout=60)
    return done.stdout


def attack(chromium, binary, folder):
    with run.Server(binary, folder, keys=None) as server:
        pages = serve(lambda: PAGE.format(at=server.url))
        port = pages.server_address[1]
        for origin in (f"http://evil.example:{port}", f"http://localhost:{port}", f"http://127.0.0.1:{port}"):
            shown = visit(chromium, origin + "/", folder)
            results = re.search("RESULT (.*?) END", shown)
            if not results:
                return f"the page of {origin} did not run: {shown[:200]}"
            if re.search(r"(read|preflight)=\d", results[1]) and not re.search("(read|preflight)=403", results[1]):
                return f"a page of {origin} reads answers: {results[1]}"
            if topics := server.client("sns").list_topics()["Topics"]:
                return f"a page of {origin} made {topics}"
        # The name of the attacker's page resolves to this machine: the browser takes it for the page's own origin.
        shown = visit(chromium, f"http://evil.example:{server.port}/?Action=ListTopics&Version=2010-03-31", folder)
        if "ListTopicsResult" in shown:
            return "a name that resolves to this machine is answered"
        return None if "ok" in visit(chromium, server.url + "/healthz", folder) else "a person cannot look at /healthz"


def main():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        print("  skipped: Chromium is not installed (Debian package chromium)")
        return 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        problem = attack(chromium, str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(folder))
    print(f"  {'held  ' if problem is None else 'BROKEN'} pages in a browser{': ' + problem if problem else ''}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env bash
# Runs a Step Functions conformance harness (SFNCONF, a script that takes an endpoint) against a fresh server.
# usage: states.sh BINARY [harness arguments]
set -euo pipefail
binary=$1
shift
if [ -z "${SFNCONF:-}" ] || [ -z "${SFNCONF_CHECKOUT:-}" ]; then
  echo "skipped: SFNCONF (the harness) and SFNCONF_CHECKOUT (the upstream checkout it reads) are not set"
  exit 0
fi
port=$((20000 + RANDOM % 20000))
"$binary" serve --in-memory --no-workflows --port "$port" --log-level warn &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 100); do
  (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.05
done
"$SFNCONF" "http://127.0.0.1:$port" "$@"

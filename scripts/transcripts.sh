#!/usr/bin/env bash
# Replays the recorded sessions against target/release/downbeat as its own process, on 1, 2 and 4 shards.
# TRANSCRIPTS=folder replays others of the same form.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --quiet --test transcripts --no-run
log=$(mktemp)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for shards in 1 2 4; do
    target/release/downbeat --host 127.0.0.1 --port 0 --cores "$shards" --port-per-core > "$log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        grep -q 'core ports' "$log" && break
        sleep 0.05
    done
    ports=$(sed -n 's/^ *core ports *//p' "$log" | tr -d ' ')
    [ -n "$ports" ] || { cat "$log"; exit 1; }
    echo "-- $shards shards, ports $ports"
    DOWNBEAT_PORTS=$ports cargo test --quiet --test transcripts against_a_server_that_runs_already
    kill -TERM "$server"
    wait "$server" || { echo "the server exited with $?"; exit 1; }
    server=
done

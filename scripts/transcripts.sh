#!/usr/bin/env bash
# Replays the recorded sessions against target/release/downbeat as its own process, on 1, 2 and 4 shards at the same time:
# the sessions are mostly pauses. TRANSCRIPTS=folder replays others of the same form.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --workspace --quiet --test transcripts --no-run
work=$(mktemp -d)
replays=()
trap 'kill "${replays[@]}" 2> /dev/null || true; rm -rf "$work"' EXIT

# replay SHARDS: against a server of so many, which must end in order.
replay() {
    local shards=$1 banner=$work/$1 server ports
    target/release/downbeat --host 127.0.0.1 --port 0 --admin off --cores "$shards" --port-per-core > "$banner" 2>&1 &
    server=$!
    # It is in a shell of its own.
    trap 'kill "$server" 2> /dev/null || true' EXIT
    for _ in $(seq 100); do
        grep -q 'core ports' "$banner" && break
        sleep 0.05
    done
    ports=$(sed -n 's/^ *core ports *//p' "$banner" | tr -d ' ')
    [ -n "$ports" ] || { cat "$banner"; return 1; }
    echo "-- $shards shards, ports $ports"
    DOWNBEAT_PORTS=$ports cargo test --workspace --quiet --test transcripts against_a_server_that_runs_already || return 1
    kill -TERM "$server"
    wait "$server" || { echo "the server exited with $?"; return 1; }
}

for shards in 1 2 4; do
    replay "$shards" > "$work/$shards.log" 2>&1 &
    replays+=($!)
done
status=0
for shards in 1 2 4; do
    wait "${replays[0]}" || status=1
    replays=("${replays[@]:1}")
    cat "$work/$shards.log"
done
exit $status

#!/usr/bin/env bash
# What the server of this stage may cost, measured on the release binary with room for a noisy machine:
# start, idle CPU, memory empty and with connections in rooms of 20.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "over budget: $*"; exit 1; }

start=$(target/release/examples/startup target/release/downbeat 2 11)
echo "$start (budget: median 10 ms)"
awk '{for (i = 1; i <= NF; i++) if ($i == "median" && $(i + 1) > 10) exit 1}' <<< "$start" || fail start

log=$(mktemp)
target/release/downbeat --host 127.0.0.1 --port 0 > "$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
    grep -q '^ *port ' "$log" && break
    sleep 0.05
done
port=$(sed -n 's/^ *port *\([0-9]*\).*/\1/p' "$log")

cpu_ns() { awk '{ns += $1} END {printf "%d", ns}' /proc/"$server"/task/*/schedstat; }
before=$(cpu_ns)
sleep 10
idle=$(($(cpu_ns) - before))
echo "idle: $((idle / 1000)) us of CPU in 10 s (budget: 10000 us, 0.1 % of a core)"
[ "$idle" -lt 10000000 ] || fail "idle CPU"

# As many connections as this process's descriptor limit allows, up to 10,000; both ends need one each.
limit=$(ulimit -Hn)
ulimit -n "$limit" 2>/dev/null || true
clients=$([ "$limit" = unlimited ] || [ "$limit" -gt 10200 ] && echo 10000 || echo $((limit - 200)))
report=$(target/release/examples/soak --port "$port" --pid "$server" --clients "$clients" --rooms $((clients / 20)) \
    --seconds 2 --idle)
echo "$report"
kib=$(sed -n 's/^memory: \([0-9]*\) KiB.*/\1/p' <<< "$report")
echo "memory with $clients connections: $kib KiB (budget: 15360 KiB)"
[ "$kib" -lt 15360 ] || fail memory

kill -TERM "$server"
wait "$server" || fail "exit status $?"

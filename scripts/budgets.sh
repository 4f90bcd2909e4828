#!/usr/bin/env bash
# What the server of this stage may cost, measured on the release binary with room for a noisy machine:
# start, idle CPU, memory empty and with connections in rooms of 20.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "over budget: $*"; exit 1; }

target/release/loadgen start 'target/release/downbeat --host 127.0.0.1 --port {port} --cores 2' --times 11 --max 10ms ||
    fail "start, 10 ms"

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
clients=$([ "$limit" = unlimited ] || [ "$limit" -gt 10200 ] && echo 10000 || echo $((limit - 200)))
target/release/loadgen mem "ws://127.0.0.1:$port" --profile rooms --steps "0,$clients" --server-pid "$server"
kib=$(awk '/^VmRSS:/ {print $2}' "/proc/$server/status")
echo "memory after $clients connections in rooms of 20: $kib KiB (budget: 15360 KiB)"
[ "$kib" -lt 15360 ] || fail memory

kill -TERM "$server"
wait "$server" || fail "exit status $?"

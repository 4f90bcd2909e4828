#!/usr/bin/env bash
# What clients feel of others at the same core, as their p99: beside one room of 9,000 that hears 20 events a
# second, and in a storm of 9,000 connects. The same beside another server on the same CPU tells how much of it
# is the CPU's and the generator's. scripts/beside.sh [ROUNDS]; two minutes each. Two CPUs, 20,000 descriptors.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-5}
cargo build --release --quiet --bins -p downbeat -p loadgen
work=$(mktemp -d)
servers=()
finish() { kill "${servers[@]}" 2> /dev/null || true; rm -rf "$work"; }
trap finish EXIT
loadgen() { taskset -c 1 target/release/loadgen run "$@" || true; }
small=(-c 2000 --room-size 5 --rate 1000 -d 4s)
large=(-c 9000 --room-size 9000 --speakers 1 --slow-share 99 --rate 20 --first-room 500 -d 8s)
in_play=(-c 9000 --room-size 20 --rate 500 -d 5s)
storm=(-c 9000 --profile rooms --room-size 20 --first-room 1000 -d 2s)

# serve: starts a server on the first CPU and sets `url`.
serve() {
  taskset -c 0 target/release/downbeat --port 0 --host 127.0.0.1 --cores 1 --metered=false > "$work/server" 2> /dev/null &
  servers+=($!)
  until grep -q '^  clients' "$work/server"; do sleep 0.05; done
  url=ws://127.0.0.1:$(sed -n 's/^ *port *\([0-9]*\).*/\1/p' "$work/server")
}

# await FILE: until the run in the background that writes it is under load, or has ended.
await() { until grep -qE '^ *[0-9]+/[0-9]+ s ' "$1" || ! kill -0 $! 2> /dev/null; do sleep 0.1; done; }

# p99 FILE: of the run that wrote it.
p99() { awk '/^response/ { print $(NF - 5) " " $(NF - 4) }' "$1"; }

serve; ours=$url
serve; other=$url
printf '%-6s %-14s %-22s %-14s | %-14s %-22s %s\n' round 'small rooms' 'beside a large room' '(elsewhere)' \
  '9,000 in play' 'in a storm' '(elsewhere)'
for round in $(seq "$rounds"); do
  loadgen chatter "$ours" "${small[@]}" > "$work/alone" 2> /dev/null
  for where in "$ours" "$other"; do
    : > "$work/large"
    loadgen chatter "$where" "${large[@]}" > "$work/large" 2>&1 &
    await "$work/large"
    loadgen chatter "$ours" "${small[@]}" > "$work/beside-${where##*:}" 2> /dev/null
    wait $!
  done
  loadgen chatter "$ours" "${in_play[@]}" > "$work/play" 2> /dev/null
  for where in "$ours" "$other"; do
    : > "$work/play-${where##*:}"
    loadgen chatter "$ours" "${in_play[@]}" > "$work/play-${where##*:}" 2>&1 &
    await "$work/play-${where##*:}"
    loadgen connect-storm "$where" "${storm[@]}" > /dev/null 2>&1
    wait $!
  done
  printf '%-6s %-14s %-22s %-14s | %-14s %-22s %s\n' "$round" "$(p99 "$work/alone")" \
    "$(p99 "$work/beside-${ours##*:}")" "$(p99 "$work/beside-${other##*:}")" "$(p99 "$work/play")" \
    "$(p99 "$work/play-${ours##*:}")" "$(p99 "$work/play-${other##*:}")"
done

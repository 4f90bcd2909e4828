#!/usr/bin/env bash
# Counts instructions and allocations of each hot operation of wire and engine, exactly, under callgrind.
# scripts/instructions.sh [OPERATION...]; a minute for all. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind > /dev/null || { echo "instructions: valgrind is missing; install the package valgrind" >&2; exit 1; }
cargo build --release --quiet -p downbeat-bench
instructions=target/release/instructions
# An operation's cost is the difference between these two counts of it, divided.
few=200
many=1200

# counted OPERATION COUNT [FLAG]: instructions of so many.
counted() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "${@:3}" "$instructions" run "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : //p'
}

# each OPERATION [FLAG]: instructions of one.
each() {
  echo $((($(counted "$1" $many "${@:2}") - $(counted "$1" $few "${@:2}")) / (many - few)))
}

operations=("$@")
[[ ${#operations[@]} -gt 0 ]] || mapfile -t operations < <("$instructions" list)
declare -A cost
printf '%-18s %14s %12s\n' operation instructions allocations
for operation in "${operations[@]}"; do
  cost[$operation]=$(each "$operation")
  made=$(($("$instructions" allocations "$operation" $many) - $("$instructions" allocations "$operation" $few)))
  printf '%-18s %14d %12s\n' "$operation" "${cost[$operation]}" "$(awk "BEGIN { printf \"%.2f\", $made / ($many - $few) }")"
done
if [[ -n ${cost[fan-out-100]:-} && -n ${cost[fan-out-400]:-} ]]; then
  printf '%-18s %14d\n' "a member more" $(((cost[fan-out-400] - cost[fan-out-100]) / 300))
  # Its share of the batch into its outbox, and its place in line; not the send and its completion.
  serve='--toggle-collect=*Shard*::serve'
  printf '%-18s %14d\n' "of it fanned out" $((($(each fan-out-400 "$serve") - $(each fan-out-100 "$serve")) / 300))
fi
if [[ -n ${cost[ping]:-} ]]; then
  # From its bytes to its answer's, without the turn's end, the send and its completion.
  printf '%-18s %14d\n' "of a ping handled" "$(each ping '--toggle-collect=*Shard*::handle_bytes')"
fi

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

counted() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$instructions" run "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : //p'
}

operations=("$@")
[[ ${#operations[@]} -gt 0 ]] || mapfile -t operations < <("$instructions" list)
declare -A cost
printf '%-18s %14s %12s\n' operation instructions allocations
for operation in "${operations[@]}"; do
  cost[$operation]=$((($(counted "$operation" $many) - $(counted "$operation" $few)) / (many - few)))
  made=$(($("$instructions" allocations "$operation" $many) - $("$instructions" allocations "$operation" $few)))
  printf '%-18s %14d %12s\n' "$operation" "${cost[$operation]}" "$(awk "BEGIN { printf \"%.2f\", $made / ($many - $few) }")"
done
if [[ -n ${cost[fan-out-100]:-} && -n ${cost[fan-out-400]:-} ]]; then
  printf '%-18s %14d\n' "a member more" $(((cost[fan-out-400] - cost[fan-out-100]) / 300))
fi

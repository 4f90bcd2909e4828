#!/usr/bin/env bash
# Holds what Downbeat costs, as counted by `costs`, against bench/budget.toml; exits 1 with a table if anything costs
# more. A minute and a quarter with its builds done. Installs valgrind and strace if it may and they are missing.
#   scripts/perf-gate.sh [METRIC...]            all metrics, or those that begin so
#   scripts/perf-gate.sh --update 'REASON'      accepts what is now, and notes why
set -euo pipefail
cd "$(dirname "$0")/.."

update=()
metrics=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --update)
      [[ -n ${2:-} ]] || { echo "perf-gate: --update needs a reason: --update 'what the cost buys'" >&2; exit 64; }
      update=(--update "$2")
      shift 2
      ;;
    -*) echo "perf-gate: no such flag: $1; see the head of $0" >&2; exit 64 ;;
    *) metrics+=("$1"); shift ;;
  esac
done

for tool in valgrind strace; do
  command -v $tool > /dev/null && continue
  [[ $(id -u) == 0 ]] && command -v apt-get > /dev/null ||
    { echo "perf-gate: $tool is missing; install the package $tool" >&2; exit 70; }
  apt-get install -y -qq $tool > /dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq $tool; } > /dev/null
done

cargo build --release --quiet --bins -p downbeat -p loadgen -p downbeat-bench
target/release/costs "${metrics[@]}" --json target/costs.json > /dev/null
only=()
for metric in "${metrics[@]}"; do only+=(--only "$metric"); done
status=0
target/release/loadgen gate target/costs.json --budget bench/budget.toml "${only[@]}" "${update[@]}" || status=$?
if [[ $status == 1 ]]; then
  echo "If a cost is worth what it buys: scripts/perf-gate.sh --update 'what it buys', and commit bench/budget.toml."
fi
exit $status

#!/usr/bin/env bash
# One performance check for your own CI: is the server correct, then a load, then your budget. As any user, within an
# ordinary limit of 20,000 descriptors. SERVER is a command with {port}, which is started anew for each try.
#   scripts/perf-ci.sh SERVER SCENARIO BUDGET [FLAGS OF loadgen run...]
#   scripts/perf-ci.sh 'target/release/downbeat --port {port} --cores 1' rooms scripts/ci-perf-example.toml -c 1000 -d 10s
# Leaves result.json and report.html in $PERF_CI_OUT (default: target/perf-ci). LOADGEN names the binary.
# Exit status:
#   0   within budget
#   1   over budget, or not a correct server
#   3   void three times: the machine was too busy to tell, which is no fault of the server's
#   4   the server could not be reached    5   the server died
#   64  wrong arguments, or a budget that cannot be used    70  a fault of the generator or its machine
set -euo pipefail

[[ $# -ge 3 ]] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 64; }
server=$1 scenario=$2 budget=$3
shift 3
loadgen=${LOADGEN:-target/release/loadgen}
out=${PERF_CI_OUT:-target/perf-ci}
mkdir -p "$out"
[[ -r $budget ]] || { echo "perf-ci: $budget: no such budget" >&2; exit 64; }

case $scenario in
  echo | churn) profile=echo ;;
  broadcast | slow-reader) profile=broadcast ;;
  *) profile=rooms ;;
esac
"$loadgen" check "$server" --profile "$profile"

for attempt in 1 2 3; do
  status=0
  "$loadgen" run "$scenario" "$server" --quiet "$@" --json "$out/result.json" || status=$?
  # A broken SLO is the gate's to say, too: the budget is what counts.
  [[ $status == 3 ]] || break
  echo "perf-ci: void, try $attempt of 3"
done
"$loadgen" report "$out/result.json" -o "$out/report.html"
[[ $status == 0 || $status == 1 ]] || exit "$status"
gate=0
"$loadgen" gate "$out/result.json" --budget "$budget" || gate=$?
# Whichever says no.
[[ $gate != 0 ]] || exit "$status"
exit "$gate"

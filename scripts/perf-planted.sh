#!/usr/bin/env bash
# Does the gate see what it is for? Plants each regression of bench/planted in a checkout of its own, and expects
# scripts/perf-gate.sh to refuse it; exits 1 if one passes. Then gates the newest commit as it is, RUNS times (10),
# and expects no alarm. Two minutes a regression, one a run. With PAIR=1 the pair judges each regression too.
#   scripts/perf-planted.sh [REGRESSION...]
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/planted.sh
choose_planted bench "$@"
folder=$PWD/target/planted
mkdir -p "$folder"
missed=0

# gate TREE LOG: the gate's status in a tree.
gate() {
  (cd "$1" && CARGO_TARGET_DIR=target scripts/perf-gate.sh) > "$2" 2>&1
}

for name in "${planted[@]}"; do
  plant bench "$name" "$folder/tree"
  mkdir -p "$folder/build"
  ln -s "$folder/build" "$folder/tree/target"
  status=0
  gate "$folder/tree" "$folder/$name.log" || status=$?
  case $status in
    1) printf '%-26s caught: ' "$name"; awk '/OVER BUDGET/ {printf "%s%s %s %%", sep, $1, $(NF-3); sep = ", "} END {print ""}' "$folder/$name.log" ;;
    0) printf '%-26s MISSED\n' "$name"; missed=1 ;;
    *) tail -n 3 "$folder/$name.log" >&2; exit "$status" ;;
  esac
  if [[ ${PAIR:-0} == 1 ]]; then
    git -C "$folder/tree" -c user.name=planted -c user.email=planted@localhost commit -qam "planted: $name"
    commit=$(git -C "$folder/tree" rev-parse HEAD)
    git worktree remove --force "$folder/tree"
    pair=0
    scripts/perf-pair.sh HEAD "$commit" > "$folder/$name-pair.log" 2>&1 || pair=$?
    printf '%-26s the pair exits %s\n' '' "$pair"
  else
    git worktree remove --force "$folder/tree"
  fi
done

alarms=0
for run in $(seq "${RUNS:-10}"); do
  gate . "$folder/unchanged-$run.log" || { alarms=$((alarms + 1)); grep -E 'OVER|NO BUDGET|NOT MEASURED' "$folder/unchanged-$run.log"; }
done
echo "unchanged: $alarms alarms in ${RUNS:-10} runs"
[[ $missed == 0 && $alarms == 0 ]]

#!/usr/bin/env bash
# Does the simulator see what it is for? Plants each bug of sim/planted in a checkout of its own, builds, and expects
# the simulator to fail within a minute; prints the seed and the time it took. Exits 1 if one is missed.
#   scripts/sim-planted.sh [BUG...]
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/planted.sh
choose_planted sim "$@"
folder=$PWD/target/planted-sim
mkdir -p "$folder"
missed=0

for name in "${planted[@]}"; do
  plant sim "$name" "$folder/tree"
  scripts/sim-build.sh "$folder/tree"
  status=0
  timeout 60 target/sim/release/simulate --seeds 1000000 > "$folder/$name.log" 2>&1 || status=$?
  case $status in
    1) printf '%-20s found: ' "$name"
       awk '/^BROKEN after/ {found = substr($0, 14)} /^seed / {print $1, $2, "after", found}' "$folder/$name.log" ;;
    124) printf '%-20s MISSED within a minute\n' "$name"; missed=1 ;;
    *) tail -n 3 "$folder/$name.log" >&2; exit "$status" ;;
  esac
  git worktree remove --force "$folder/tree"
done
# The programs are the sound ones again.
scripts/sim-build.sh
[[ $missed == 0 ]]

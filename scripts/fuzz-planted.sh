#!/usr/bin/env bash
# Do the fuzz targets see what they are for? Plants each fault of fuzz/planted in a checkout of its own, and expects the test
# that repeats the committed inputs to fail; prints the first that breaks. Exits 1 if a fault is missed. Some minutes.
#   scripts/fuzz-planted.sh [FAULT...]
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/planted.sh
choose_planted fuzz "$@"
folder=$PWD/target/planted-fuzz
mkdir -p "$folder"
missed=0

for name in "${planted[@]}"; do
  plant fuzz "$name" "$folder/tree"
  test=(cargo test --quiet --manifest-path "$folder/tree/Cargo.toml" --target-dir "$folder" -p downbeat-properties --test corpus)
  # What does not compile is no fault that was found.
  "${test[@]}" --no-run
  status=0
  RUST_BACKTRACE=0 timeout 300 "${test[@]}" every_target_holds_for_its_corpus > "$folder/$name.log" 2>&1 || status=$?
  found=$(sed -n 's|.*/fuzz/corpus/\([^ ]*\) breaks .*|\1|p' "$folder/$name.log" | head -1)
  if [[ $status != 0 && -n $found ]]; then
    printf '%-35s found by %s\n' "$name" "$found"
  else
    printf '%-35s MISSED (%s)\n' "$name" "$folder/$name.log"
    missed=1
  fi
  git worktree remove --force "$folder/tree"
done
[[ $missed == 0 ]]

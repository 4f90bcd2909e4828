#!/usr/bin/env bash
# Measures commits, oldest first, and appends a line for each to bench/history.ndjson: what `costs` counts, and what a
# message costs the server in CPU. Two to four minutes each. Those from before `costs` are measured from outside only.
#   scripts/perf-history.sh [COMMIT...]       the newest commit if none is named
# `loadgen trend bench/history.ndjson -o target/history.html` tells what changed, and plots it.
set -euo pipefail
cd "$(dirname "$0")/.."

history=bench/history.ndjson
folder=target/history
mkdir -p "$folder"
commits=("$@")
[[ ${#commits[@]} -gt 0 ]] || commits=(HEAD)
cargo build --release --quiet -p loadgen -p downbeat-bench

# build COMMIT: its binaries in $folder/build/release, from a checkout of its own.
build() {
  git worktree prune
  rm -rf "$folder/tree"
  git worktree add --quiet --force --detach "$folder/tree" "$1"
  packages=(-p downbeat)
  [[ ! -d $folder/tree/bench/src/bin/costs ]] || packages+=(-p downbeat-bench)
  (cd "$folder/tree" && CARGO_TARGET_DIR=../build cargo build --release --quiet --bins "${packages[@]}")
  git worktree remove --force "$folder/tree"
}

for name in "${commits[@]}"; do
  commit=$(git rev-parse --verify "$name^{commit}")
  rm -f "$folder"/build/release/{costs,operations,core-operations}
  build "$commit"
  built=$folder/build/release
  # Its own counting where it has one: operations are counted in the code they belong to.
  costs=target/release/costs wanted=(calls. memory.echo memory.rooms binary.)
  if [[ -x $built/costs ]]; then
    costs=$built/costs wanted=()
    cp target/release/loadgen "$built/"
  fi
  "$costs" "${wanted[@]}" --server "$built/downbeat" --json "$folder/costs.json" > /dev/null
  results=("$folder/costs.json")
  for row in echo broadcast rooms; do
    case $row in
      echo) load=(-c 200 --closed) ;;
      broadcast) load=(-c 100 --closed) ;;
      rooms) load=(-c 2000 --room-size 20 --click-every 5s) ;;
    esac
    target/release/loadgen bench $row "Downbeat=$built/downbeat --port {port} --cores 1 --app $row" --name $row \
      "${load[@]}" -d 1500ms --warmup 500ms --json "$folder/$row.json" > /dev/null 2>&1
    # A row without a trial that counts has no place in the line.
    grep -q '"server_ns_per_message": null' "$folder/$row.json" || results+=("$folder/$row.json")
  done
  target/release/loadgen record "${results[@]}" --history "$history" --commit "$commit" \
    --subject "$(git show -s --format=%s "$commit")" --committed "$(git show -s --format=%ct "$commit")"
done

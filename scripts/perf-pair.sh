#!/usr/bin/env bash
# Two commits against each other, in alternating pairs of trials: what the server's CPU costs a message in echo,
# broadcast and rooms. Exits 1 only if a row has regressed twice in a row; one regression alone is this kind of
# machine's daily bread. Five minutes and two builds; needs two CPUs. Statuses otherwise as loadgen's.
#   scripts/perf-pair.sh BASE HEAD [ROW...]      commits or names of them; rows: echo broadcast rooms
#   PAIRS=12 DURATION=2s THRESHOLD=3             more of any tells smaller changes
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $# -ge 2 ]] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 64; }
base=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "perf-pair: no such commit: $1" >&2; exit 64; }
head=$(git rev-parse --verify --quiet "$2^{commit}") || { echo "perf-pair: no such commit: $2" >&2; exit 64; }
shift 2
rows=("$@")
[[ ${#rows[@]} -gt 0 ]] || rows=(echo broadcast rooms)
pairs=(--pairs "${PAIRS:-12}" -d "${DURATION:-2s}" --warmup 500ms --threshold "${THRESHOLD:-3}")
folder=target/pair
mkdir -p "$folder"

# build COMMIT: its server at $folder/COMMIT, built once, from a checkout of its own.
build() {
  [[ ! -x $folder/$1 ]] || return 0
  git worktree prune
  git worktree add --quiet --force --detach "$folder/tree" "$1"
  (cd "$folder/tree" && CARGO_TARGET_DIR=../build cargo build --release --quiet --bin downbeat)
  git worktree remove --force "$folder/tree"
  mv "$folder/build/release/downbeat" "$folder/$1"
}
build "$base"
build "$head"
cargo build --release --quiet -p loadgen

# compare ROW: one comparison, whose verdict is its exit status.
compare() {
  local load
  case $1 in
    echo) load=(-c 200 --closed) ;;
    broadcast) load=(-c 100 --closed) ;;
    rooms) load=(-c 2000 --room-size 20 --click-every 5s) ;;
    *) echo "perf-pair: no such row: $1" >&2; exit 64 ;;
  esac
  local server="--host 127.0.0.1 --port {port} --cores 1 --app $1"
  target/release/loadgen compare "Base=$folder/$base $server" "Head=$folder/$head $server" \
    --scenario "$1" "${load[@]}" "${pairs[@]}" --json "$folder/$1.json" 2> "$folder/$1.log"
}

status=0
for row in "${rows[@]}"; do
  for attempt in first second; do
    printf '\n== %s, %s comparison\n' "$row" "$attempt"
    verdict=0
    compare "$row" || verdict=$?
    [[ $verdict != 0 ]] || break
  done
  case $verdict in
    0) ;;
    1) status=1; echo "$row: REGRESSED twice in a row" ;;
    3) echo "$row: void, which says nothing; the reasons are in $folder/$row.log" ;;
    *) tail -n 2 "$folder/$row.log" >&2; exit $verdict ;;
  esac
done
exit $status

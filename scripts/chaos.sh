#!/usr/bin/env bash
# What a server survives, at the sizes that the tests are too short for: 200 kills at random moments under load, a
# standstill of 30 s, a full disk. About a minute and a half; the full disk needs root (a small tmpfs), and is skipped without.
#   scripts/chaos.sh
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== 200 kills at random moments, with snapshots each 10 ms: none that cannot be loaded"
KILLS=200 cargo test --quiet -p downbeat --test life no_kill_leaves_a_snapshot_that_cannot_be_loaded

echo "== stopped for 30 s: everyone is still there"
STOPPED_S=30 cargo test --quiet -p downbeat --test life a_server_that_stood_still_goes_on_with_everyone

echo "== a full disk: service goes on, said once; with room again the rooms are kept"
cargo build --release --quiet --bins -p downbeat -p loadgen
work=$(mktemp -d)
server=
finish() {
  [[ -z $server ]] || kill "$server" 2> /dev/null || true
  umount "$work/rooms" 2> /dev/null || true
  rm -rf "$work"
}
trap finish EXIT
mkdir "$work/rooms"
if ! mount -t tmpfs -o size=64k,mode=0700 downbeat-chaos "$work/rooms" 2> /dev/null; then
  echo "skipped: no tmpfs can be mounted here"
  exit 0
fi
await() { # await SECONDS FILE TEXT
  local tries=$(($1 * 20))
  until grep -q "$3" "$2"; do
    tries=$((tries - 1))
    [[ $tries -gt 0 ]] || { echo "chaos: $3 is not in $2:"; cat "$2"; exit 1; }
    sleep 0.05
  done
}
target/release/downbeat --port 0 --host 127.0.0.1 --cores 1 --admin off --backup-dir "$work/rooms" \
  --backup-interval-ms 100 > "$work/banner" 2> "$work/log" &
server=$!
await 10 "$work/banner" '  host '
port=$(awk '$1 == "port" {print $2}' "$work/banner")
head -c 1m /dev/zero > "$work/rooms/filler" 2> /dev/null || true
target/release/loadgen run rooms "ws://127.0.0.1:$port" -c 200 --room-size 20 --click-every 1s -d 3s > "$work/load" ||
  [[ $? == 3 ]] || { cat "$work/load"; exit 1; }
await 5 "$work/log" 'rooms cannot be kept: No space left on device'
[[ $(grep -c 'rooms cannot be kept' "$work/log") == 1 ]]
rm "$work/rooms/filler"
await 5 "$work/log" 'rooms are kept again'
kill "$server"
wait "$server"
server=
ls "$work/rooms"/*.snapshot > /dev/null
echo "all of scripts/chaos.sh passed"

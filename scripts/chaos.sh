#!/usr/bin/env bash
# What a server survives, at the sizes that the tests are too short for: 200 kills at random moments under load, a
# standstill of 30 s, no descriptors, a kill with 100,000 rooms, a full disk. Some three minutes; the full disk needs root (a
# small tmpfs), and is skipped without.
#   scripts/chaos.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/upgrades.sh

echo "== 200 kills at random moments, with snapshots each 10 ms: none that cannot be loaded"
KILLS=200 cargo test --workspace --quiet --test life no_kill_leaves_a_snapshot_that_cannot_be_loaded

echo "== stopped for 30 s: everyone is still there"
STOPPED_S=30 cargo test --workspace --quiet --test life a_server_that_stood_still_goes_on_with_everyone

cargo build --release --quiet --bins -p downbeat -p loadgen
work=$(mktemp -d)
server=
finish() {
  [[ -z $server ]] || { kill "$server" && wait "$server"; } 2> /dev/null || true
  umount "$work/rooms" 2> /dev/null || true
  rm -rf "$work"
}
trap finish EXIT
await() { # await SECONDS FILE TEXT
  local tries=$(($1 * 20))
  until grep -q "$3" "$2"; do
    tries=$((tries - 1))
    [[ $tries -gt 0 ]] || { echo "chaos: $3 is not in $2:"; cat "$2"; exit 1; }
    sleep 0.05
  done
}
serve() { # serve FLAGS...
  target/release/downbeat --port 0 --host 127.0.0.1 --admin off "$@" > "$work/banner" 2> "$work/log" &
  server=$!
  await 10 "$work/banner" '  host '
  port=$(awk '$1 == "port" {print $2}' "$work/banner")
}
stop() {
  kill "$server"
  wait "$server"
  server=
}
# look PID SECONDS: 1,000 ordinary clients for so long; then what they felt and what the process holds go into p99, resident.
look() {
  target/release/loadgen run rooms "ws://127.0.0.1:$port" -c 1000 --click-every 5s -d "$2s" -q --slo 'p99<60s' \
    --json "$work/json" > "$work/load" || [[ $? == 3 ]] || { cat "$work/load"; exit 1; }
  grep '^VALID .*no' "$work/load" || true
  p99+=("$(tr -d '\n' < "$work/json" | grep -o '"response": *{[^}]*}' | grep -o '"p99": *[0-9.]*' | awk '{printf "%.2f ms", $2 / 1000}')")
  resident+=("$(awk '$1 == "VmRSS:" {printf "%.1f MiB", $2 / 1024}' "/proc/$1/status")")
}
rows=()
say() { # say WHAT
  local IFS=, row
  row="| $1 | ${p99[*]} | ${resident[*]} |"
  rows+=("${row//,/, }")
  p99=() resident=()
}
p99=() resident=()

echo "== 1,000 clients, stopped for 30 s in between: nobody is lost"
serve --cores 1
look "$server" 5
(sleep 5 && kill -STOP "$server" && sleep 30 && kill -CONT "$server") &
stopper=$!
look "$server" 50
wait "$stopper"
look "$server" 5
say "stopped for 30 s"
stop

echo "== no descriptors left: what 1,000 clients feel of 2,000 who take them all"
target/release/loadgen flood half-open "no-descriptors=prlimit --nofile=1300 target/release/downbeat --host 127.0.0.1 \
  --port {port} --cores 1 --head-timeout-ms 2000" -c 1000 --attackers 2000 --click-every 5s --leavers 0 --warmup 1s -d 4s \
  --rounds 1 --eager --slo 'p99<1s' || [[ $? == 3 ]]

echo "== a server that is supervised and killed with 100,000 rooms: all of them again, and soon"
mkdir -m 700 "$work/many"
awk -v now="$(date +%s%3N)" 'BEGIN {
  printf "{\"generatedAt\": %s, \"rooms\": [", now
  for (room = 1; room <= 100000; room++)
    printf "%s{\"roomCode\": \"R%d\", \"hostUserId\": \"u\", \"audioUrl\": \"https://cdn.example/%d.mp3\", \"duration\": 187.5}",
      room == 1 ? "" : ", ", room, room
  print "]}"
}' > "$work/many/state-backup.json"
serve --cores 2 --supervised --backup-dir "$work/many" --backup-interval-ms 200
child() { pgrep -P "$server" || { echo "chaos: the supervisor has no server"; cat "$work/log"; exit 1; }; }
until compgen -G "$work/many/*.snapshot" > /dev/null; do sleep 0.05; done
look "$(child)" 5
for kill in 1 2 3; do
  sleep 1
  was=$(child)
  began=$(date +%s%N)
  kill -KILL "$was"
  until upgrades 2> /dev/null; do
    [[ $(($(date +%s%N) - began)) -lt 5000000000 ]] || { echo "chaos: it does not answer"; cat "$work/log"; exit 1; }
  done
  echo "kill $kill: answers again after $((($(date +%s%N) - began) / 1000000)) ms"
  # Once from the old server's file, and once for each kill.
  for _ in $(seq 100); do
    [[ $(grep -c '"rooms":100000' "$work/log") != $((kill + 1)) ]] || continue 2
    sleep 0.05
  done
  echo "chaos: not all rooms are restored"
  cat "$work/log"
  exit 1
done
look "$(child)" 5
say "killed three times with 100 k rooms (before and after)"
stop

echo "== a full disk: service goes on, said once; with room again the rooms are kept"
mkdir "$work/rooms"
if mount -t tmpfs -o size=64k,mode=0700 downbeat-chaos "$work/rooms" 2> /dev/null; then
  serve --cores 1 --backup-dir "$work/rooms" --backup-interval-ms 100
  look "$server" 5
  head -c 1m /dev/zero > "$work/rooms/filler" 2> /dev/null || true
  look "$server" 5
  await 5 "$work/log" 'rooms cannot be kept: No space left on device'
  [[ $(grep -c 'rooms cannot be kept' "$work/log") == 1 ]]
  rm "$work/rooms/filler"
  await 5 "$work/log" 'rooms are kept again'
  look "$server" 5
  say "disk full"
  stop
  compgen -G "$work/rooms/*.snapshot" > /dev/null
else
  echo "skipped: no tmpfs can be mounted here"
fi

printf '\n| what happens | p99 of 1,000 clients before, beside, after | resident then |\n| --- | --- | --- |\n'
printf '%s\n' "${rows[@]}"
echo "all of scripts/chaos.sh passed"

#!/usr/bin/env bash
# What ordinary clients feel of each attack, and what becomes of it: some minutes for all of them. Writes
# bench/results/floods/KIND-TITLE.json and RELIABILITY.md's table. Two CPUs, 20,000 descriptors; no root.
#   scripts/floods.sh [KIND...]
#   scripts/floods.sh --quick    small and short, writes nothing, fails if a victim loses anything or a promise is broken
# SERVER is the binary (target/release/downbeat), TITLE what its rows are called (after), ROUNDS how many of each (3), EXTRA
# more flags of `loadgen flood`: on a machine that others use, EXTRA='--eager --slo p99<100ms'.
# Before and after: TITLE=before SERVER=target/before/downbeat scripts/floods.sh; scripts/floods.sh
set -euo pipefail
cd "$(dirname "$0")/.."

server=${SERVER:-target/release/downbeat}
title=${TITLE:-after}
rounds=${ROUNDS:-3}
loadgen=${LOADGEN:-target/release/loadgen}
results=bench/results/floods
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
quick=
[[ ${1:-} != --quick ]] || { quick=1; shift; }
wanted=("$@")
all=(stalled drip half-open empty-fragments huge-header pings messages codes random-codes herd silent)
for kind in "${wanted[@]}"; do
  [[ " ${all[*]} " == *" $kind "* ]] || { echo "floods: $kind is none of ${all[*]}" >&2; exit 64; }
done

# flood KIND 'SERVER FLAGS' FLAGS...: victims in rooms of twenty at their own cadence. Writes KIND$size-TITLE.json.
flood() {
  local kind=$1 flags=$2 status=0
  shift 2
  [[ ${#wanted[@]} -eq 0 || " ${wanted[*]} " == *" $kind "* ]] || return 0
  local command="$title=$server --host 127.0.0.1 --port {port} --cores 1 $flags"
  if [[ $quick ]]; then
    # Far from what is seen: for faults of a kind on any machine, not of a degree.
    "$loadgen" flood "$kind" "$command" -c 200 --click-every 5s --warmup 300ms --rounds 1 \
      --slo 'p99<100ms' --eager --p99-max 200ms --memory-max 4 --buffers-max 60 "$@" > "$work/$kind" || status=$?
    # Void is the machine's doing; what was lost and what was promised is looked at in any case.
    [[ $status == 0 || $status == 3 ]] || { cat "$work/$kind"; echo "floods: $kind: exit $status"; exit 1; }
  else
    mkdir -p "$results"
    "$loadgen" flood "$kind" "$command" -c "${victims:-1000}" --click-every "${click_every:-5s}" --leavers 0 --warmup 1s \
      --rounds "$rounds" "$@" ${EXTRA:-} --json "$results/$kind${size:-}-$title.json" || status=$?
    # What is not as it must be stands in the table.
    [[ $status == 0 || $status == 1 || $status == 3 ]] || { echo "floods: $kind: exit $status"; exit "$status"; }
  fi
}

# turns CLIENTS: so many drop at once and are back in 1.0 to 1.4 s; no turn of the loop may take 100 ms. A server older than its
# metrics cannot say.
turns() {
  [[ ${#wanted[@]} -eq 0 || " ${wanted[*]} " == *" herd "* ]] || return 0
  "$server" --help | grep -q -- --admin || return 0
  local pid admin port status=0
  "$server" --host 127.0.0.1 --port 0 --cores 1 --admin 127.0.0.1:0 > "$work/banner" &
  pid=$!
  until admin=$(awk '$1 == "admin" {print $2}' "$work/banner") && [[ $admin ]]; do
    kill -0 "$pid" || { echo "floods: the server does not start"; exit 1; }
    sleep 0.05
  done
  port=$(awk '$1 == "port" {print $2}' "$work/banner")
  "$loadgen" run herd "ws://127.0.0.1:$port" -c "$1" -d 5s -q > "$work/turns" || status=$?
  curl -fsS "$admin/metrics" > "$work/metrics"
  kill "$pid"
  wait "$pid"
  [[ $status == 0 || $status == 3 ]] || { cat "$work/turns"; echo "floods: herd: exit $status"; exit 1; }
  awk -v clients="$1" '
    /^downbeat_turn_seconds_bucket/ && /le="0\.1"/ { in_time += $2 }
    /^downbeat_turn_seconds_count/ { all += $2 }
    END {
      printf "turns of the loop while a herd of %d drops and is back: %d, of which %d over 100 ms\n", clients, all, all - in_time
      exit all == 0 || all > in_time
    }' "$work/metrics"
}

policy=(--promise 'close 1008')
reset=(--promise 'reset by the server')
unread=(--promise 'cut off, unread' "${reset[@]}")
lengths=(--promise 'close 1009' --promise 'close 1002')
# Silence takes 75 s by default, a first join 30 s, a head 10 s; with these settings the same fits into a phase.
impatient='--ping-interval-ms 1000'
! "$server" --help | grep -q -- --join-timeout-ms || impatient+=' --join-timeout-ms 2000'
if [[ $quick ]]; then
  flood stalled '' -d 2s --attackers 100 "${unread[@]}"
  flood drip '' -d 1s --attackers 500 --attack-rate 10000
  flood half-open '--head-timeout-ms 300' -d 1s --attackers 500 "${reset[@]}"
  flood empty-fragments '' -d 1s "${policy[@]}"
  flood huge-header '' -d 1s "${lengths[@]}"
  flood pings '' -d 1s --attackers 4 "${policy[@]}"
  flood messages '' -d 1s "${policy[@]}"
  # The usual burst of 20 is not reached in a second.
  flood codes '--rooms-made-burst 3' -d 1s --attackers 100 "${policy[@]}"
  flood random-codes '--rooms-made-burst 3' -d 1s --attackers 100 "${policy[@]}"
  flood herd '' -d 3s --attackers 500
  turns 2000
  flood silent "$impatient" -d 4s --attackers 500 "${policy[@]}" "${reset[@]}"
  echo "all floods passed"
else
  flood stalled '' -d 10s
  flood drip '' -d 4s
  flood half-open '--head-timeout-ms 2000' -d 4s "${reset[@]}"
  flood empty-fragments '' -d 4s "${policy[@]}"
  flood huge-header '' -d 4s "${lengths[@]}"
  flood pings '' -d 4s "${policy[@]}"
  flood messages '' -d 4s "${policy[@]}"
  flood codes '' -d 6s "${policy[@]}"
  flood random-codes '' -d 6s "${policy[@]}"
  flood herd '' -d 5s
  turns 9000
  # More of them, back every two seconds, make the generator late.
  flood silent "$impatient" -d 6s --attackers 1000 "${policy[@]}" "${reset[@]}"
  # A generator of 9,000 and the server fill both CPUs; attackers that wait for their turn would hardly attack.
  size=-of-10000 victims=9000 click_every=60s flood stalled '' -d 10s --attackers 1000 --eager --slo 'p99<1s' "${unread[@]}"
  # Each kind's servers one below the other, before first.
  files=()
  for kind in stalled stalled-of-10000 "${all[@]:1}"; do
    for which in before after; do
      [[ ! -e $results/$kind-$which.json ]] || files+=("$results/$kind-$which.json")
    done
  done
  "$loadgen" report "${files[@]}" -o RELIABILITY.md
fi

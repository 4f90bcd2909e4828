#!/usr/bin/env bash
# Measures everything that PERF.md's tables are made of, into bench/results, and writes the tables.
# Half an hour on a machine with two CPUs; needs node and npm for some peers. Rows: scripts/bench.sh ROW...
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet --bins -p downbeat -p loadgen
scripts/peers.sh
loadgen=target/release/loadgen
results=bench/results
mkdir -p "$results"
everyone=(uws bun ws tokio-tungstenite fastwebsockets)
with_rooms=(uws bun ws)
wanted=("$@")

ours() { echo "Downbeat=target/release/downbeat --port {port} --cores 1 --app $1"; }
is_wanted() { [[ ${#wanted[@]} -eq 0 || " ${wanted[*]} " == *" $1 "* ]]; }

# bench NAME SCENARIO APP PEERS... -- FLAGS
bench() {
  local name=$1 scenario=$2 app=$3 peers=()
  is_wanted "$name" || return 0
  shift 3
  while [[ $1 != -- ]]; do peers+=("$1"); shift; done
  shift
  "$loadgen" bench "$scenario" "$(ours "$app")" "${peers[@]}" --name "$name" "$@" --json "$results/$name.json"
}

for peer in "${everyone[@]}"; do
  is_wanted check || break
  for app in echo broadcast; do "$loadgen" check "$peer" --profile "$app" | tail -n 1; done
done
for peer in "${with_rooms[@]}"; do
  is_wanted check || break
  "$loadgen" check "$peer" --profile rooms | tail -n 1
done

short=(-d 1500ms --warmup 300ms)
for payload in 20 1024 16384; do
  rate=20000; [[ $payload == 16384 ]] && rate=5000
  bench "echo-$payload" echo echo "${everyone[@]}" -- -c 1000 --rate $rate --payload $payload "${short[@]}"
  bench "echo-$payload-closed" echo echo "${everyone[@]}" -- -c 200 --closed --payload $payload --metric rate "${short[@]}"
done
for members in 10 100 500; do
  # 80,000 deliveries a second each.
  bench "broadcast-$members" broadcast broadcast "${everyone[@]}" -- -c $members --rate $((80000 / members)) "${short[@]}"
  bench "broadcast-$members-closed" broadcast broadcast "${everyone[@]}" -- -c $members --closed --metric rate "${short[@]}"
done
# The first at a load that all can take, the second at the size that is asked for, with room for a generator
# that has one CPU for 10,000 clients.
for members in 3000 10000; do
  bench "rooms-$members" rooms rooms "${with_rooms[@]}" -- -c $members --room-size 20 --click-every 5s \
    -d 3s --warmup 2s --slo 'p99<50ms'
done

for server in downbeat "${everyone[@]}"; do
  target=$server; [[ $server == downbeat ]] && target=$(ours echo)
  is_wanted mem && "$loadgen" mem "$target" --steps 0,2500,5k,10k --json "$results/mem-$server.json"
  is_wanted start && "$loadgen" start "$target" --times 21 --json "$results/start-$server.json"
done
is_wanted mem-rooms && "$loadgen" mem "$(ours rooms)" --profile rooms --steps 0,2500,5k,10k --json "$results/mem-downbeat-rooms.json"

"$loadgen" report "$results"/*.json -o PERF.md

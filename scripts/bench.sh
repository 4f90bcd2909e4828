#!/usr/bin/env bash
# Measures everything that PERF.md's tables and plots are made of, into bench/results, and writes both.
# An hour and a half on a machine with two CPUs; needs node and npm for some peers. Rows: scripts/bench.sh ROW...
# scripts/bench.sh plots measures nothing.
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
# The same with a latency budget, as another server of the row.
budget() { echo "Downbeat-250us=target/release/downbeat --port {port} --cores 1 --app $1 --batch-us 250"; }
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
# So many connections that no cache holds them.
crowd=(-c 10000 --payload 20 -d 2s --warmup 500ms)
bench echo-20-10000-closed echo echo uws bun ws fastwebsockets -- "${crowd[@]}" --closed
bench echo-20-10000 echo echo "$(budget echo)" uws bun ws fastwebsockets -- "${crowd[@]}" --rate 50000
for members in 10 100 500; do
  # 80,000 deliveries a second each.
  bench "broadcast-$members" broadcast broadcast "${everyone[@]}" -- -c $members --rate $((80000 / members)) "${short[@]}"
  bench "broadcast-$members-closed" broadcast broadcast "${everyone[@]}" -- -c $members --closed --metric rate "${short[@]}"
done
# The first at a load that all can take, the second at the size that is asked for, with room for a generator
# that has one CPU for 10,000 clients.
for members in 3000 10000; do
  bench "rooms-$members" rooms rooms "$(budget rooms)" "${with_rooms[@]}" -- -c $members --room-size 20 \
    --click-every 5s -d 3s --warmup 2s --slo 'p99<50ms'
done
# A hundred rooms of a hundred, everyone speaking as fast as it drains.
bench chatter-10000-closed chatter "rooms --metered=false" uws bun -- -c 10000 --room-size 100 --closed --metric rate "${short[@]}"
# Every connection with its upgrade and its join.
bench storm connect-storm rooms "${with_rooms[@]}" -- -c 5000 --profile rooms -d 1500ms

# Two shards on the one CPU that one shard has: what a second core costs, not what it brings.
two_cores="target/release/downbeat --port {port} --app rooms --metered=false --cores 2"
bench cores-rooms rooms rooms "Two-cores=$two_cores" -- -c 2000 --room-size 20 --click-every 5s -d 3s --warmup 2s
bench cores-local chatter "rooms --metered=false" "Two-cores=$two_cores" -- -c 2000 --room-size 20 --closed "${short[@]}"
bench cores-span chatter "rooms --metered=false" "Across-two-cores=$two_cores --room-local-max 100" -- -c 200 --room-size 200 \
  --closed "${short[@]}"

for server in downbeat "${everyone[@]}"; do
  target=$server; [[ $server == downbeat ]] && target=$(ours echo)
  is_wanted mem && "$loadgen" mem "$target" --steps 0,2500,5k,10k --json "$results/mem-$server.json"
  is_wanted start && "$loadgen" start "$target" --times 21 --json "$results/start-$server.json"
done
is_wanted mem-rooms && "$loadgen" mem "$(ours rooms)" --profile rooms --steps 0,2500,5k,10k,19k --json "$results/mem-downbeat-rooms.json"

# curve NAME SCENARIO APP RATES -- FLAGS: latency by load, of everyone.
curve() {
  local name=$1 scenario=$2 app=$3 rates=$4
  is_wanted "$name" || return 0
  shift 5
  "$loadgen" curve "$scenario" "$(ours "$app")" "${everyone[@]}" --rates "$rates" "$@" --json "$results/$name.json"
}
curve curve-echo echo echo 5000,10000,20000,40000,60000,80000,100000,120000,140000 -- -c 1000 --payload 20 "${short[@]}"
# A hundred times as many deliveries.
curve curve-broadcast broadcast broadcast 200,400,800,1600,3200,6400,12800,25600 -- -c 100 "${short[@]}"

plots=bench/plots
mkdir -p "$plots"
for name in curve-echo curve-broadcast; do
  [[ ! -e $results/$name.json ]] || "$loadgen" report "$results/$name.json" -o "$plots/$name.svg"
done
"$loadgen" report "$results"/mem-*.json -o "$plots/memory.svg"
"$loadgen" trend bench/history.ndjson --only cpu. --only memory.echo --only memory.rooms --only binary.loaded \
  -o "$plots/history.svg" > /dev/null
"$loadgen" report "$results"/*.json -o PERF.md

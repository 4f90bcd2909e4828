#!/usr/bin/env bash
# Every scenario of the load generator against the release binary, briefly: no message may be lost, doubled,
# out of order or changed. Whether a run is void for being late is the machine's matter, not this script's.
set -euo pipefail
cd "$(dirname "$0")/.."
loadgen=target/release/loadgen
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

server() { echo "Downbeat=target/release/downbeat --host 127.0.0.1 --port {port} --cores ${2:-2} --app $1"; }

for app in echo broadcast rooms; do
    "$loadgen" check "$(server "$app")" --profile "$app"
done

# scenario SCENARIO APP FLAGS...
scenario() {
    local name=$1 app=$2 status=0
    shift 2
    "$loadgen" run "$name" "$(server "$app")" -q -d "${duration:-2s}" --warmup 300ms "$@" --json "$folder/result.json" || status=$?
    [[ $status == 0 || $status == 3 ]] || { echo "$name: exit $status"; exit 1; }
    for key in lost duplicated reordered corrupt; do
        grep -q "\"$key\": 0,\?$" "$folder/result.json" || { echo "$name: $key messages"; exit 1; }
    done
    ! grep -q '"the account is open' "$folder/result.json"
}
scenario echo echo -c 200 --rate 5000
scenario echo echo -c 50 --closed --depth 4 --payload 16384
scenario broadcast broadcast -c 50 --rate 200
scenario broadcast broadcast -c 50 --closed
scenario rooms rooms -c 500 --room-size 20 --click-every 2s --leavers 300
scenario chatter "rooms --metered=false" -c 500 --room-size 20 --rate 2000
scenario chatter "rooms --metered=false" -c 500 --room-size 100 --closed
scenario chatter "rooms --metered=false" -c 1000 --room-size 1000 --speakers 4 --slow-share 90 --closed
scenario idle rooms -c 1000 --profile rooms
scenario connect-storm rooms -c 1000 --profile rooms
duration=4s scenario herd rooms -c 500 --profile rooms
scenario churn echo -c 200 --rate 200
scenario slow-reader broadcast -c 50 --rate 500

"$loadgen" report "$folder/result.json" -o "$folder/report.html" > /dev/null
echo "all scenarios passed"

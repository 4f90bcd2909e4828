#!/usr/bin/env bash
# Holds /metrics of a running server, with rooms in it that play, against Prometheus' own parsers: promtool (the package
# prometheus) and the Python client's (prometheus-client from PyPI). Builds what it runs. Exits 77 if neither is there.
#   scripts/metrics-check.sh [BINARY]           target/release/downbeat
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${1:-target/release/downbeat}
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2> /dev/null; rm -rf "$work"' EXIT

has_python_client() { "$1" -c 'import prometheus_client' 2> /dev/null; }
python=python3
if ! has_python_client $python; then
    python3 -m venv "$work/venv" 2> /dev/null &&
        "$work/venv/bin/pip" install --quiet --disable-pip-version-check prometheus-client 2> /dev/null || true
    python=$work/venv/bin/python
fi
parsers=()
command -v promtool > /dev/null && parsers+=(promtool)
[[ -x $(command -v "$python") ]] && has_python_client "$python" && parsers+=(python)
[[ ${#parsers[@]} -gt 0 ]] || { echo "metrics-check: neither promtool nor prometheus-client is here"; exit 77; }

[[ -n ${1:-} ]] || cargo build --release --quiet --bins -p downbeat -p loadgen
"$binary" --port 0 --host 127.0.0.1 --cores 2 --admin 127.0.0.1:0 > "$work/banner" &
server=$!
until grep -q '^  host' "$work/banner"; do
    kill -0 $server || exit 1
done
port=$(awk '$1 == "port" { print $2 }' "$work/banner")
admin=$(awk '$1 == "admin" { print $2 }' "$work/banner")

curl -fsS "$admin/metrics" > "$work/empty"
# Whether this run counts as a measurement is of no interest here.
target/release/loadgen run rooms "ws://127.0.0.1:$port" -c 60 --room-size 4 -d 3s > "$work/load" 2>&1 || [[ $? == 3 ]]
curl -fsS "$admin/metrics" > "$work/full"

for parser in "${parsers[@]}"; do
    for text in empty full; do
        case $parser in
            promtool) promtool check metrics < "$work/$text" ;;
            python)
                "$python" - "$work/$text" << 'PARSE'
import sys
from prometheus_client.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(open(sys.argv[1]).read()))
assert len(families) > 40, len(families)
for family in families:
    assert family.name.startswith("downbeat_") and family.documentation and family.type != "unknown", family
    assert family.type != "histogram" or all(s.value >= 0 for s in family.samples), family
PARSE
                ;;
        esac
    done
done
counted() { awk -v name="$1" '$1 ~ "^" name "[{]" { sum += $2 } END { print sum + 0 }' "$work/full"; }
for metric in messages_total deliveries_total dwell_seconds_count handshake_seconds_count rtt_seconds_count \
    ready_seconds_count start_skew_seconds_count; do
    [[ $(counted "downbeat_$metric") != 0 ]] || { echo "metrics-check: nothing in $metric"; exit 1; }
done
echo "metrics: $(grep -c '^# TYPE' "$work/full") kinds, $(grep -vc '^#' "$work/full") samples, parsed by ${parsers[*]}"

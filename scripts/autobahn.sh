#!/usr/bin/env bash
# Autobahn's fuzzing client against the release binary: sections 1 to 7, 9 and 10, which are 301 cases (12 and 13 are
# compression, which is declined). Every case's verdict is compared with scripts/autobahn-baseline.json.
#   scripts/autobahn.sh [CORES]       so many shards, 1 if not given; 20 s on two CPUs, a minute more to install
#   scripts/autobahn.sh --update      writes what is now to the baseline; the rules about verdicts hold all the same
# Installs autobahntestsuite into target/autobahn, once, from PyPI. It needs CPython 2.7: PYTHON27, python2.7 on the
# PATH, or one of pyenv's. Reports stay in target/autobahn/reports.
# Exit status: 0 as the baseline says, 1 anything else, 77 no CPython 2.7 (nothing was run), 70 a fault of the tools.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/target/autobahn
baseline=scripts/autobahn-baseline.json
cores=1 update=
case ${1:-} in
  --update) update=--update ;;
  ?*) cores=$1 ;;
esac

# What the cases need beyond the defaults: messages of 16 MiB, echoed whole; 4 MiB in fragments of 64 bytes (9.3.1, 9.4.1)
# with an empty one at their end.
server=(target/release/downbeat --host 127.0.0.1 --port 0 --cores "$cores" --app echo
  --message-bytes-max 16777216
  --outbox-bytes-max 67108864
  --fragments-max 65537
)

# Each runs beside the other, since they mostly wait.
shards=(
  '"1.*", "2.*", "3.*", "4.*", "5.*", "7.*", "9.1.*", "9.2.*", "9.7.*", "9.8.*", "10.*"'
  '"6.*", "9.3.*", "9.4.*", "9.5.*", "9.6.*"'
)

# python27: the path of a CPython 2.7 that runs. pyenv's shim is there even where it leads nowhere.
python27() {
  local candidate
  for candidate in "${PYTHON27:-}" python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
    [[ -n $candidate ]] || continue
    "$candidate" -c 'import sys; print(sys.executable)' 2> /dev/null && return
  done
  return 1
}

# install: wstest in $folder/venv. The stamp is written last, so that an interrupted install is done again.
install() {
  [[ ! -e $folder/installed-25.10.1 ]] || return 0
  local python
  python=$(python27) || {
    echo 'autobahn: skipped, there is no CPython 2.7: set PYTHON27, or `pyenv install 2.7.18`' >&2
    exit 77
  }
  rm -rf "$folder"
  mkdir -p "$folder"
  # Into a folder of its own: the machine's Python stays as it is.
  {
    "$python" -m pip install --disable-pip-version-check --target "$folder/bootstrap" 'virtualenv<20.22' &&
      PYTHONPATH=$folder/bootstrap "$python" -m virtualenv "$folder/venv" &&
      "$folder/venv/bin/pip" install --disable-pip-version-check 'autobahntestsuite==25.10.1'
  } > "$folder/install.log" 2>&1 || {
    tail -n 5 "$folder/install.log" >&2
    echo "autobahn: cannot install autobahntestsuite 25.10.1; see $folder/install.log" >&2
    exit 70
  }
  touch "$folder/installed-25.10.1"
}

# fuzz NUMBER CASES: one fuzzing client. It exits 0 whatever happens; what counts is its index.
fuzz() {
  mkdir -p "$folder/reports/$1"
  cat > "$folder/reports/$1.json" << END
{"outdir": "$folder/reports/$1", "servers": [{"agent": "Downbeat", "url": "ws://127.0.0.1:$port"}],
 "cases": [$2], "exclude-cases": [], "exclude-agent-cases": {}}
END
  exec "$folder/venv/bin/wstest" -m fuzzingclient -s "$folder/reports/$1.json" > "$folder/reports/$1.log" 2>&1
}

install
cargo build --release --quiet --bins -p downbeat -p loadgen
rm -rf "$folder/reports"
mkdir -p "$folder/reports"
processes=()
finish() { [[ ${#processes[@]} == 0 ]] || kill "${processes[@]}" 2> /dev/null || true; }
trap finish EXIT
"${server[@]}" > "$folder/reports/server.log" 2>&1 &
pid=$!
processes+=("$pid")
for _ in $(seq 100); do
  grep -q '^  host ' "$folder/reports/server.log" && break
  sleep 0.05
done
port=$(sed -n 's/^ *port *\([0-9]*\).*/\1/p' "$folder/reports/server.log")
[[ -n $port ]] || { cat "$folder/reports/server.log" >&2; exit 1; }

clients=()
for number in "${!shards[@]}"; do
  fuzz "$number" "${shards[$number]}" &
  clients+=($!)
  processes+=($!)
done
for client in "${clients[@]}"; do
  wait "$client" || { echo "autobahn: wstest failed; see $folder/reports" >&2; exit 70; }
done
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
processes=()
[[ $status == 0 ]] || { echo "autobahn: the server exited with $status" >&2; exit 1; }

"$folder/venv/bin/python" scripts/autobahn-compare.py $update "$baseline" "$folder"/reports/*/index.json

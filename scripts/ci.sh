#!/usr/bin/env bash
# Everything that CI checks beyond `cargo test --workspace`: form, lints, documentation, and the recorded
# sessions, Autobahn's fuzzing client and a browser against the release binary, what it costs against its budget. Needs Rust;
# installs valgrind and strace for the last, if it may, Autobahn where there is a CPython 2.7, and playwright-core and Chromium
# for the demo and the dashboard where there is Node. Takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

skipped=()
# What comes next, and when, in seconds from the start.
step() { printf '\n== %s s: %s\n' "$SECONDS" "$*"; }
# may_skip WHAT COMMAND...: exit status 77 means that this machine has not what it takes.
may_skip() {
    local what=$1 status=0
    shift
    "$@" || status=$?
    case $status in
        0) ;;
        77) skipped+=("$what") ;;
        *) exit 1 ;;
    esac
}
# beside NAME COMMAND...: begins it now, to go on beside other steps; `ended NAME` waits for it, shows what it printed and
# has its exit status. What only computes is to leave the steps beside it their CPU time: nice.
declare -A begun=()
trap '[[ ${#begun[@]} == 0 ]] || kill "${begun[@]}" 2> /dev/null || true' EXIT
beside() {
    local name=$1
    shift
    "$@" > "target/$name.log" 2>&1 &
    begun[$name]=$!
}
ended() {
    local status=0
    wait "${begun[$1]}" || status=$?
    unset "begun[$1]"
    cat "target/$1.log"
    return "$status"
}

step "form"
cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check

step "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings
# The pure crates must not touch the world: their own clippy.toml forbids it, and this shows that it does.
scripts/purity.sh

step "every unsafe block against docs/unsafe.md"
scripts/unsafe-audit.sh

step "what is planted to test the tests still fits the code"
for patch in bench/planted/*.patch fuzz/planted/*.patch sim/planted/*.patch; do git apply --check "$patch"; done

step "dependencies: licences, versions, sources, known faults"
may_skip "known faults of dependencies (no database of them)" scripts/deny.sh

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

step "fuzz targets, 30 s each"
# Always the same inputs for a commit: what turns red is the change's. To look for more is for `scripts/fuzz.sh` by hand.
# The targets run two at a time, and the last one alone: what is needed next is built meanwhile.
beside release-build nice -n 19 cargo build --release --quiet --bins -p downbeat -p loadgen
FUZZ_SEED=1 scripts/fuzz.sh

step "transcripts against the release binary"
ended release-build
beside autobahn scripts/autobahn.sh
scripts/sim-build.sh
beside simulator nice -n 19 scripts/sim-ci.sh
scripts/transcripts.sh

step "deploy/: the unit, the seccomp profile with the release binary under it, alerts, dashboard"
may_skip "deploy/" scripts/deploy-check.sh

step "metrics of a server at work against Prometheus' parsers"
may_skip "Prometheus' parsers" scripts/metrics-check.sh

step "Autobahn's fuzzing client against the release binary"
may_skip "Autobahn's fuzzing client" ended autobahn

step "the dashboard in headless Chromium"
may_skip "the dashboard's tests" scripts/dashboard-test.sh

step "the demo player in a browser, against the release binary"
may_skip "the demo player in a browser" scripts/demo-test.sh

step "generated sessions against the model, 2,000 simulated worlds, then the simulator against planted bugs"
ended simulator
# The same, fewer, over sockets.
target/sim/release/differential --sessions 300 --server target/release/downbeat

step "load generator: its own tests, then every scenario against the release binary"
# Two of its tests compare measurements, so a machine that is busy just then gets another chance.
for attempt in 1 2 3; do
    target/release/loadgen selftest && break
    [ "$attempt" -lt 3 ] || exit 1
done
scripts/scenarios.sh

step "floods, small and short: no victim loses anything, attackers are ended as promised"
scripts/floods.sh --quick

step "what can be counted, against bench/budget.toml"
scripts/perf-gate.sh

step "the history of costs"
target/release/loadgen trend bench/history.ndjson -o target/history.html

step "budgets"
scripts/budgets.sh

step "the check for users' own CI"
scripts/perf-ci.sh 'target/release/downbeat --host 127.0.0.1 --port {port} --cores 1' rooms \
    scripts/ci-perf-example.toml -c 500 -d 3s || [ $? = 3 ]

for what in "${skipped[@]}"; do printf '\nSKIPPED: %s\n' "$what"; done
printf '\nall of scripts/ci.sh passed%s, in %s s\n' "${skipped:+ but what was skipped}" "$SECONDS"

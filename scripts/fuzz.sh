#!/usr/bin/env bash
# Fuzzes: scripts/fuzz.sh [TARGET...] [SECONDS], by default every target for 30 s each, two at a time.
# With cargo-fuzz and AddressSanitizer where there is a nightly toolchain; without the sanitizer where there is none; with
# a mutator of our own where cargo-fuzz or its C++ compiler is missing. It says which; FUZZ_WITH=asan|plain|mutate chooses.
# FUZZ_SEED=N makes two runs of a commit in fresh checkouts try the same inputs in the same order.
# What breaks a property is kept under fuzz/artifacts, and the command that replays it is printed. What libFuzzer finds
# new gathers under target/fuzzing and is used again; the committed corpus stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=()
seconds=30
for word in "$@"; do
    case $word in
        '' | *[!0-9]*) targets+=("$word") ;;
        *) seconds=$word ;;
    esac
done
[[ ${#targets[@]} -gt 0 ]] || targets=(head frames utf8 messages snapshot driver shard sessions)
for target in "${targets[@]}"; do
    [[ -f fuzz/fuzz_targets/$target.rs ]] || { echo "fuzz: no such target: $target" >&2; exit 64; }
done

tools=$PWD/target/tools
work=target/fuzzing
PATH=$tools/bin:$PATH
mkdir -p "$work"

has_nightly() { command -v rustup > /dev/null && rustup toolchain list | grep -q '^nightly'; }

has_cargo_fuzz() { timeout 600 scripts/tools.sh cargo-fuzz 2> "$work/install.log"; }

choose() {
    if ! command -v c++ > /dev/null || ! has_cargo_fuzz; then
        echo mutate
    elif has_nightly; then
        echo asan
    else
        echo plain
    fi
}

with=${FUZZ_WITH:-$(choose)}
case $with in
    asan)
        echo "fuzz: libFuzzer and AddressSanitizer, ${seconds} s for each of: ${targets[*]}"
        cargo +nightly fuzz build --sanitizer address 2> "$work/build.log" || { cat "$work/build.log"; exit 70; }
        ;;
    plain)
        echo "fuzz: libFuzzer without a sanitizer (no nightly toolchain), ${seconds} s for each of: ${targets[*]}"
        cargo fuzz build --sanitizer none 2> "$work/build.log" || { cat "$work/build.log"; exit 70; }
        ;;
    mutate)
        echo "fuzz: mutator without coverage (no cargo-fuzz or no C++ compiler), ${seconds} s for each of: ${targets[*]}"
        cargo build --quiet --profile fuzz -p downbeat-properties --bin mutate
        ;;
    *) echo "fuzz: FUZZ_WITH is asan, plain or mutate" >&2; exit 64 ;;
esac

# Runs one target and prints a line: executions, CPU time, inputs found.
run() {
    local target=$1 log=$work/$1.log status=0 runs found
    local found_in=$work/corpus/$target artifacts=fuzz/artifacts/$target
    mkdir -p "$found_in" "$artifacts"
    TIMEFORMAT='%U %S'
    if [[ $with == mutate ]]; then
        { time timeout $((seconds + 60)) target/fuzz/mutate "$target" "$seconds" "${FUZZ_SEED:-1}" > "$log" 2>&1; } \
            2> "$log.cpu" || status=$?
        runs=$(sed -n 's/.*: \([0-9]*\) mutants.*/\1/p' "$log")
        found=0
    else
        local dictionary=()
        [[ ! -f fuzz/dictionaries/$target.dict ]] || dictionary=(-dict="fuzz/dictionaries/$target.dict")
        { time fuzz/target/*/release/"$target" -seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 \
            -print_final_stats=1 "${dictionary[@]}" -artifact_prefix="$artifacts/" "$found_in" "fuzz/corpus/$target" \
            > "$log" 2>&1; } 2> "$log.cpu" || status=$?
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        found=$(find "$found_in" -type f | wc -l)
    fi
    local cpu
    cpu=$(awk 'NF == 2 { print $1 + $2 }' "$log.cpu" | tail -1)
    if [[ $status == 0 ]]; then
        echo "$target holds: ${runs:-?} executions, $cpu s of CPU, $found inputs beside the corpus"
        return 0
    fi
    echo "$target FAILED (status $status); the end of $log:"
    tail -n 40 "$log"
    local input
    input=$(sed -n 's/.*Test unit written to //p; s/.* does not hold for \(.*\) (run .*/\1/p' "$log" | head -1)
    echo "input: ${input:-none kept}"
    if [[ $with == asan ]]; then
        echo "replay: PATH=$tools/bin:\$PATH cargo +nightly fuzz run $target $input"
    else
        echo "replay: cargo run --profile fuzz -p downbeat-properties --bin mutate -- $target $input"
    fi
    return 1
}

status=0
running=0
for target in "${targets[@]}"; do
    if [[ $running == 2 ]]; then
        wait -n || status=1
        running=$((running - 1))
    fi
    run "$target" &
    running=$((running + 1))
done
while [[ $running -gt 0 ]]; do
    wait -n || status=1
    running=$((running - 1))
done
exit $status

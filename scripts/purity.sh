#!/usr/bin/env bash
# Proves that clippy's disallowed-methods guard `wire` and `engine`: in a copy of each crate, a clock, a file
# and a thread are refused.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar --create --exclude=./target --exclude=./.git . | tar --extract --directory "$copy"
for crate in wire engine; do
    for sin in 'std::time::Instant::now()' 'std::fs::read("x")' 'std::thread::spawn(|| ())'; do
        cp "$crate/src/lib.rs" "$copy/$crate/src/lib.rs"
        printf '\n/// Not pure.\npub fn sin() {\n    let _ = %s;\n}\n' "$sin" >> "$copy/$crate/src/lib.rs"
        if output=$(CARGO_TARGET_DIR="$PWD/target/purity" cargo clippy --quiet --manifest-path "$copy/Cargo.toml" \
            --package "downbeat-$crate" --lib -- -D warnings 2>&1); then
            echo "$crate: clippy let $sin pass"
            exit 1
        fi
        grep -q 'disallowed' <<< "$output" || { echo "$crate: refused $sin for another reason: $output"; exit 1; }
    done
    cp "$crate/src/lib.rs" "$copy/$crate/src/lib.rs"
done
echo "wire and engine refuse clocks, files and threads"

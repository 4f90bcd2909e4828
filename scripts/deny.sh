#!/usr/bin/env bash
# Holds the dependencies against deny.toml: licences, duplicate versions, sources, and known faults. Installs
# cargo-deny under target/tools if it is missing. The database of faults is a git repository: where it cannot be
# fetched that one check is skipped, said to be, and the exit status is 77.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target

PATH=$PWD/target/tools/bin:$PATH
scripts/tools.sh cargo-deny

check() {
    for manifest in Cargo.toml fuzz/Cargo.toml; do
        # An exception or a skip that only one of the two graphs needs is no news.
        cargo deny --manifest-path "$manifest" --workspace --locked --config deny.toml check --hide-inclusion-graph \
            -A unnecessary-skip -A unmatched-skip -A license-exception-not-encountered "$@"
    done
}

check licenses bans sources
if cargo deny fetch db > target/deny-fetch.log 2>&1; then
    check advisories
else
    echo "SKIPPED: known faults (advisories) were not checked, since the RustSec database could not be fetched:"
    grep -m 1 fatal target/deny-fetch.log || tail -n 1 target/deny-fetch.log
    exit 77
fi

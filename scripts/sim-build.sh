#!/usr/bin/env bash
# Builds the simulator's programs (simulate, differential) under target/sim, quickly: what they find does not depend on how
# they were optimized. Another checkout of the workspace, whose dependencies are the same, is built into the same folder.
#   scripts/sim-build.sh [CHECKOUT]
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0
cargo build --release --quiet --manifest-path "${1:-.}/Cargo.toml" --target-dir target/sim --package sim --bins

#!/usr/bin/env bash
# Installs what CI needs of cargo's tools and is not on the PATH, under target/tools. Whoever comes meanwhile waits.
#   scripts/tools.sh [TOOL...]        by default all: cargo-deny, cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")/.."

tools=("$@")
[[ ${#tools[@]} -gt 0 ]] || tools=(cargo-deny cargo-fuzz)
mkdir -p target/tools
PATH=$PWD/target/tools/bin:$PATH
exec 9> target/tools/lock
flock 9
for tool in "${tools[@]}"; do
    command -v "$tool" > /dev/null || cargo install --quiet --locked --debug --root target/tools "$tool"
done

#!/usr/bin/env bash
# The demo player in Chromium against the release binary: several pages of one room, whose own audio clocks must say
# that they start within 30 ms of one another; late joiners, pauses, seeks and a kill -9 too. Half a minute.
#   scripts/demo-test.sh [ROUNDS]       so many times, 1 if not given
#   scripts/demo-test.sh --screenshot   draws docs/images/demo.png anew, and others into target/demo to look at
# CHROMIUM names another browser than the one on the PATH.
# Installs Chromium if it may (root and apt) and playwright-core below tests/browser.
# Exit status: 0 fine, 1 a page was too far off or a fault, 77 no Node 20 or no Chromium (nothing was run).
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "demo-test: skipped, $1" >&2
  exit 77
}

# find_chromium: the browser's path.
find_chromium() {
  local name
  for name in ${CHROMIUM:-} chromium chromium-browser google-chrome; do
    type -P "$name" && return
  done
  return 1
}

install_chromium() {
  [[ $(id -u) == 0 ]] && command -v apt-get > /dev/null || return 1
  apt-get install -y -qq chromium > /dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -y -qq chromium; } > /dev/null 2>&1
}

install_driver() {
  local modules=tests/browser/node_modules
  [[ $modules/.package-lock.json -nt tests/browser/package-lock.json ]] && return
  (cd tests/browser && npm ci --no-audit --no-fund --loglevel=error > /dev/null && touch node_modules/.package-lock.json)
}

node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2> /dev/null || skip 'there is no Node 20'
find_chromium > /dev/null || install_chromium || skip 'there is no Chromium: `apt-get install chromium`, or set CHROMIUM'
CHROMIUM=$(find_chromium) || skip 'there is no Chromium: set CHROMIUM'
export CHROMIUM
install_driver || skip 'playwright-core could not be installed from npm'
cargo build --release --quiet --bins -p downbeat -p loadgen

if [[ ${1:-} == --screenshot ]]; then
  node tests/browser/screenshot.mjs
  exit
fi
for _ in $(seq "${1:-1}"); do
  node --test --test-reporter=spec tests/browser/demo.mjs
done

#!/usr/bin/env bash
# The dashboard in headless Chromium: against a mock of the admin port, or against a server that runs.
#   scripts/dashboard-test.sh [NAME]                                   the checks, or those with NAME in their names
#   DASHBOARD_URL=http://127.0.0.1:9600 scripts/dashboard-test.sh      a real admin port; DASHBOARD_TOKEN if it has one.
#                                                                      Makes a room there for some seconds. With
#                                                                      DASHBOARD_DRAIN=1 it drains the server, too, whose
#                                                                      --drain-rate is to be 50.
#   scripts/dashboard-test.sh --screenshot                             writes docs/images/dashboard.png
# Needs Node 20 and Chromium (CHROMIUM, or one on the PATH). Installs playwright-core, which has no browser with it, into
# tests/browser, once; and Chromium where apt-get may be used without a password.
# Exit status: 0 all hold, 1 one does not, 77 something is missing and may not be installed (nothing was run).
set -euo pipefail
cd "$(dirname "$0")/.."

image=docs/images/dashboard.png
image_bytes_max=250000

skip() { echo "dashboard: skipped, $1" >&2; exit 77; }
browser() { command -v "${CHROMIUM:-chromium}" || command -v chromium-browser || command -v google-chrome; }

command -v node > /dev/null && command -v npm > /dev/null || skip 'there is no Node: it needs node and npm, version 20 or newer'
[[ $(node -p 'Number(process.versions.node.split(".")[0])') -ge 20 ]] || skip "Node $(node --version) is older than 20"
if ! browser > /dev/null && [[ $(id -u) == 0 ]] && command -v apt-get > /dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium > /dev/null 2>&1 || true
fi
CHROMIUM=$(browser) || skip 'there is no Chromium: install it, or set CHROMIUM to its path'
export CHROMIUM
if ! cmp -s tests/browser/package.json tests/browser/node_modules/installed.json; then
  npm ci --prefix tests/browser --no-audit --no-fund --loglevel=error > /dev/null 2>&1 || skip 'npm cannot install playwright-core'
  cp tests/browser/package.json tests/browser/node_modules/installed.json
fi

if [[ ${1:-} == --screenshot ]]; then
  mkdir -p "$(dirname "$image")"
  node tests/browser/dashboard.mjs --screenshot "$image"
  bytes=$(stat -c %s "$image")
  [[ $bytes -le $image_bytes_max ]] || { echo "dashboard: $image has $bytes bytes, more than $image_bytes_max" >&2; exit 1; }
  echo "$image, $bytes bytes"
else
  exec node tests/browser/dashboard.mjs "$@"
fi

#!/usr/bin/env bash
# What CI computes with the simulator's programs, which scripts/sim-build.sh has built: generated sessions against the model,
# simulated worlds, and the simulator against planted bugs. Nothing in it listens, and time matters only in that it finds
# each of the bugs within a minute, which takes it seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

target/sim/release/differential --sessions 10000
# No more than two minutes of two CPUs, which would be felt; it takes a third of that.
(ulimit -t 240 && exec target/sim/release/simulate --seeds 2000)
# The others that are planted take as long: scripts/sim-planted.sh without names.
scripts/sim-planted.sh lost-leave frame-sent-twice stale-timer

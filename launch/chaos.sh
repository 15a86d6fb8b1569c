#!/usr/bin/env bash
# Breaks a run on purpose: killed, preempted, moved from 8 devices to 4 and from 2 processes to 1, on this
# machine with fake devices. Prints how far each ends from the run that was left alone.
#   ./launch/chaos.sh [--dry-run]
# Results go to docs/results/chaos.json and multi_process.json; status 1 where a bound does not hold.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

take_options "$@"
[ ${#arguments[@]} -eq 0 ] || fail "unexpected argument ${arguments[0]} (see $0 --help)"

cd "$ROOT"
main_env
run python -m tests.chaos

#!/usr/bin/env bash
# What a run needs on TPU slices that are not there: runs `fsa plan` with the TPU compiler, which needs no TPU.
#   ./launch/plan.sh [--dry-run] --gin_file=run/F.gin --topology=v5e:4x4 … [--gin.Class.field=value …] [--output=DIR]
#   ./launch/plan.sh --table    compiles what docs/results/plan.md lacks (some minutes a cell; may be stopped)
# Installs libtpu into .libtpu once, beside .venv (FSA_LIBTPU names another folder). How to read it: docs/plan.md.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

take_options "$@"
main_env
libtpu_beside
if [ "${arguments[0]:-}" = --table ]; then
  cd "$ROOT"
  run python -m tests.bench.plan "${arguments[@]:1}"
else
  run fsa plan "${arguments[@]}"
fi

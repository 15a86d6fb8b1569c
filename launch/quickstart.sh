#!/usr/bin/env bash
# Distils, fine-tunes, scores and exports a tiny student on synthetic reviews: no data, no downloads of weights.
#   ./launch/quickstart.sh [--dry-run] [--output=DIR] [--gin.Class.field=value …]
# About 10 minutes on 2 CPU cores, after the installation. Ends with the F1 table and the report's path.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

take_options "$@"

main_env
run fsa demo --gin_file=run/quickstart.gin --output=outputs/quickstart "${arguments[@]}"

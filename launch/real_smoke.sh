#!/usr/bin/env bash
# Every stage on real data: distils a small student from published teacher answers, fine-tunes it from scratch on
# rest16 and rest14 (or other datasets of the same form), scores every subset beside the trivial baseline.
#   ./launch/real_smoke.sh DATA_DIR [--dry-run] [--output=DIR] [--gin.Class.field=value …]
# DATA_DIR holds corpus/ (teacher answers), fsa/{acsa,atsa}/DATASET/ and t5/spiece.model.
# Other datasets: --gin.DemoConfig.datasets="('acsa_laptop16', 'atsa_laptop14')"
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

take_options "$@"
data=${arguments[0]:-}
[[ -n $data && $data != --* ]] || fail "needs the data folder: ./launch/real_smoke.sh DATA_DIR"
[ -d "$data" ] || fail "there is no folder $data"

main_env
run fsa demo --gin_file=run/real_smoke.gin --gin.DemoConfig.data="$data" --output=outputs/real_smoke "${arguments[@]:1}"

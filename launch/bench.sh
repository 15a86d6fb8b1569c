#!/usr/bin/env bash
# Benchmarks, by hand: ratios against torch, transformers and seqio, measured in one run, written as JSON.
#   ./launch/bench.sh [--dry-run] [packing sampling corpus decoding constrained zero_shot training startup seeds rows teaching]       default: all
# Results go to docs/results/bench_*.json. Nothing else should run on the machine meanwhile.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

take_options "$@"
names=("${arguments[@]}")
for name in "${names[@]}"; do # before the first, which takes long
  [[ $name = rows || -f $ROOT/tests/bench/$name.py ]] || fail "there is no benchmark $name (tests/bench/$name.py)"
done
[ ${#names[@]} -gt 0 ] || names=(packing sampling corpus decoding constrained zero_shot training startup seeds rows teaching)

cd "$ROOT"
main_env
if [ -z "$DRY_RUN" ] && ! python -c 'import torch' 2>/dev/null; then
  install_into "$ROOT/.venv" -r "$ROOT/requirements-torch.txt"
fi
for name in "${names[@]}"; do
  if [ "$name" = rows ]; then
    run python -m tests.bench.training --rows
    continue
  fi
  if [ "$name" = teaching ]; then # in the environment that has vLLM
    (teacher_env && run python -m tests.bench.teaching)
    continue
  fi
  run python -m "tests.bench.$name"
done

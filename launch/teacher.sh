#!/usr/bin/env bash
# Asks a large language model: runs `fsa teach` (or in-context) in an environment of its own, which has vLLM.
#   ./launch/teacher.sh [teach|in-context] [--dry-run] --gin.Class.field=value … --output=DIR
# Makes .venv-teacher once: vLLM's GPU build where nvidia-smi finds a GPU, its CPU build elsewhere (FSA_VLLM=gpu|cpu
# decides). A job array adds --shard=i/n. Examples and hardware: docs/teacher.md. Knobs: fsa teach --help.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

stage=teach
arguments=()
for argument in "$@"; do
  case $argument in
    --dry-run) DRY_RUN=1 ;;
    -h | --help) sed -n '2,5s/^# *//p' "$0"; exit ;;
    teach | in-context) stage=$argument ;;
    *) arguments+=("$argument") ;;
  esac
done

teacher_env
run fsa "$stage" "${arguments[@]}"

#!/usr/bin/env bash
# Asks a large language model: runs `fsa teach` (or in-context) in an environment of its own, which has vLLM.
#   ./launch/teacher.sh [teach|in-context] [--dry-run] --gin.Class.field=value … --output=DIR
# Makes .venv-teacher once: vLLM's GPU build where nvidia-smi finds a GPU, its CPU build elsewhere (FSA_VLLM=gpu|cpu
# decides). A job array adds --shard=i/n. Examples and hardware: docs/teacher.md. Knobs: fsa teach --help.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

take_options "$@"
case ${arguments[0]:-} in
  teach | in-context) stage=${arguments[0]} arguments=("${arguments[@]:1}") ;;
  *) stage=teach ;;
esac

teacher_env
run fsa "$stage" "${arguments[@]}"

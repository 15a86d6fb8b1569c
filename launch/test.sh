#!/usr/bin/env bash
# All checks and all tests: format, lint, types, import law, shell scripts, then pytest.
#   ./launch/test.sh [--dry-run] [pytest arguments …]      for example: ./launch/test.sh tests/unit -k f1
# Real-data tests run where ../shared (or FSA_SHARED) is, and skip with the reason elsewhere.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

take_options "$@"

cd "$ROOT"
main_env
# torch is the yardstick of the parity tests: with its own dependencies, from where pip finds a CPU build.
if [ -z "$DRY_RUN" ] && ! python -c 'import torch' 2>/dev/null; then
  install_into "$ROOT/.venv" -r "$ROOT/requirements-torch.txt"
fi
if python312=$(find_python312); then
  make_env "$ROOT/.venv-core" "$python312" "$ROOT/requirements-core.lock"
  export FSA_CORE_PYTHON="$ROOT/.venv-core/bin/python"
fi
# Tests marked `vllm` run the real engine in the teacher's environment.
if (teacher_env); then
  export FSA_TEACHER_PYTHON="$ROOT/.venv-teacher/bin/python"
elif [ -n "${FSA_REQUIRE_VLLM:-}" ]; then
  fail "FSA_REQUIRE_VLLM is set, and the teacher's environment cannot be made"
else
  echo "${0##*/}: without .venv-teacher the tests marked vllm skip" >&2
fi
# Tests marked `libtpu` compile for TPUs that are not there.
if (libtpu_beside); then
  export FSA_LIBTPU=${FSA_LIBTPU:-$ROOT/.libtpu}
elif [ -n "${FSA_REQUIRE_LIBTPU:-}" ]; then
  fail "FSA_REQUIRE_LIBTPU is set, and libtpu cannot be installed"
else
  echo "${0##*/}: without .libtpu the tests marked libtpu skip" >&2
fi

run ruff format --check .
run ruff check .
run mypy
run lint-imports
run shellcheck -x launch/*.sh .ci/run
run hadolint launch/docker/*.Dockerfile

tests() { # two workers, a file's tests in one of them and in order; files as collected, which begins with the long ones
  run python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
}
if [ ${#arguments[@]} -gt 0 ]; then
  tests "${arguments[@]}"
else
  tests tests/parity # in processes of their own, for how programs are compiled is chosen once (tests/parity/conftest.py)
  tests tests/system tests/unit
fi

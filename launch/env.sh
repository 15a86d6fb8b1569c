# Sourced by the other launch scripts: finds Python, makes .venv from the lock, once.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DRY_RUN=${DRY_RUN:-}
unset PYTHONDONTWRITEBYTECODE # else every start compiles all that it imports: 3 s of `fsa train`, 10 s of TensorFlow

fail() { # one clear line, exit status 2
  echo "${0##*/}: $*" >&2
  exit 2
}

run() { # runs a command, or prints it under --dry-run
  if [ -n "$DRY_RUN" ]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

print_help() { # the comment that the script begins with
  awk 'NR > 1 && !/^#/ {exit} NR > 1 {sub(/^# ?/, ""); print}' "$0"
}

take_options() { # --dry-run and --help are done here; what is left goes into the array `arguments`
  local argument
  arguments=()
  for argument in "$@"; do
    case $argument in
      --dry-run) DRY_RUN=1 ;;
      -h | --help)
        print_help
        exit
        ;;
      *) arguments+=("$argument") ;;
    esac
  done
}

find_python() { # the first Python that is at least 3.11; $PYTHON wins
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

find_python312() { # the Python that requirements-core.lock is for; $PYTHON312 wins
  local candidate
  for candidate in "${PYTHON312:-}" python3.12 "$(pyenv root 2>/dev/null || echo /nowhere)"/versions/3.12*/bin/python3.12; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

fingerprint() { cat "$@" | sha256sum | cut -d' ' -f1; }

# make_env FOLDER PYTHON LOCK [MORE]: installs exactly what LOCK pins, what the file MORE names with its dependencies,
# and fsa_jax itself in place. A stamp holds the lock's hash, so that a second call does nothing.
make_env() {
  local folder=$1 python=$2 lock=$3 more=${4:-} want
  want=$(fingerprint "$lock" "$ROOT/pyproject.toml")
  once "$folder" is_made fill_env "$(basename "$lock")"
}

is_made() { [ "$(cat "$folder/.fsa_lock" 2>/dev/null)" = "$want" ]; } # of make_env

fill_env() { # of make_env
  [ -x "$folder/bin/python" ] || "$python" -m venv "$folder" || fail "cannot make $folder with $python -m venv"
  install_into "$folder" --no-deps -r "$lock"
  [ -z "$more" ] || install_into "$folder" -r "$more"
  install_into "$folder" --no-deps -e "$ROOT"
  echo "$want" >"$folder/.fsa_lock"
}

# once FOLDER CHECK FILL SOURCE: calls FILL unless CHECK holds; those who call at once, as a job array does, take turns.
once() {
  local what
  what="$(basename "$1") from $4"
  if "$2"; then return; fi
  if [ -n "$DRY_RUN" ]; then
    echo "# makes $what"
    return
  fi
  mkdir -p "$1" || fail "cannot make $1"
  (
    ! command -v flock >/dev/null || flock 9
    if "$2"; then exit; fi
    echo "making $what (once; some minutes with pip, less with uv)" >&2
    "$3"
  ) 9>"$1/.making" || exit
}

# install_into FOLDER ARGUMENTS…: by uv where it is, else by pip.
install_into() {
  local folder=$1 log=$1/install.log
  shift
  if command -v uv >/dev/null 2>&1; then
    # uv does not read pip's variables; from /, so that it does not apply pyproject's constraints to the core lock
    (cd / && UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}} uv pip install -q -p "$folder" "$@") >"$log" 2>&1
  else
    "$folder/bin/python" -m pip install -q --disable-pip-version-check "$@" >"$log" 2>&1
  fi || fail "cannot install packages: $(grep -iE 'error|no matching|could not|no module' "$log" | head -n 1 | cut -c1-200)" \
    "- is a package index reachable? (full log: $log)"
}

# The main environment.
main_env() {
  local python
  python=$(find_python) || fail "needs Python 3.11 or newer on PATH (or PYTHON=/path/to/python)"
  make_env "$ROOT/.venv" "$python" "$ROOT/requirements.lock"
  export PATH="$ROOT/.venv/bin:$PATH"
}

# The teacher's environment: vLLM's GPU build where there is a GPU, its CPU build elsewhere ($FSA_VLLM decides).
teacher_env() {
  local folder=$ROOT/.venv-teacher python build=${FSA_VLLM:-} lock=$ROOT/requirements-teacher.lock torch=
  [ -n "$build" ] || { nvidia-smi -L >/dev/null 2>&1 && build=gpu; } || build=cpu
  [[ $build == [gc]pu ]] || fail "FSA_VLLM=$build: expected gpu or cpu"
  if [ "$build" = cpu ]; then # torch is in the GPU build's lock; its CPU build is one that no public lock can name
    lock=$ROOT/requirements-teacher-cpu.lock torch=$ROOT/requirements-torch.txt
  fi
  python=$(find_python) || fail "needs Python 3.11 or newer on PATH (or PYTHON=/path/to/python)"
  UV_COMPILE_BYTECODE=1 make_env "$folder" "$python" "$lock" "$torch" # without .pyc vLLM takes 20 s to import
  export PATH="$folder/bin:$PATH"
}

# The TPU compiler, for ahead-of-time compiles without a TPU. Beside the environment, never in it: jax complains
# wherever libtpu is installed and no TPU is there. It fits the lock's jax (extra `plan` of pyproject.toml).
libtpu_beside() {
  local folder=$ROOT/.libtpu package
  package=$(sed -n 's/^plan = \["\(libtpu==[^ ;"]*\).*/\1/p' "$ROOT/pyproject.toml")
  export FSA_LIBTPU=${FSA_LIBTPU:-$folder}
  [ "$FSA_LIBTPU" != "$folder" ] || once "$folder" has_libtpu fill_libtpu "$package"
}

has_libtpu() { [ -d "$folder/${package/==/-}.dist-info" ]; } # of libtpu_beside

fill_libtpu() { # of libtpu_beside
  rm -rf "${folder:?}"/*
  install_into "$ROOT/.venv" --no-deps --target "$folder" "$package"
}

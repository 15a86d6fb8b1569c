#!/usr/bin/env bash
# One worker of a pod, on the machine itself (the other scripts call this over ssh).
#   worker.sh setup [--accelerator=tpu|cuda|cpu]   makes the environment
#   worker.sh start -- STAGE OPTIONS…              runs it in the background; a run under way is left alone
#   worker.sh follow [--lines=N]                   prints its log until it ends; exits with its status
#   worker.sh stop                                 SIGTERM: the run saves and ends; after a minute SIGKILL
# The run's log, status and process id are in ~/fsa_job (FSA_JOB).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

JOB=${FSA_JOB:-$HOME/fsa_job}
accelerator=tpu lines=+1 verb=${1:-}
[ $# -gt 0 ] && shift
parse 'accelerator lines' "$@"

setup() {
  local python extra
  case $accelerator in
    tpu) extra=('jax[tpu]' gcsfs) ;; # gcsfs: --output=gs://…
    cuda) extra=('jax[cuda13]') ;;
    cpu) extra=(jax) ;;
    *) fail "--accelerator=$accelerator: expected tpu, cuda or cpu" ;;
  esac
  if ! python=$(find_python312); then # TPU VM images come with an older one
    export PATH="$HOME/.local/bin:$PATH"
    command -v uv >/dev/null || run python3 -m pip install -q --user uv
    run uv python install 3.12
    python=python3.12
    [ -n "$DRY_RUN" ] || python=$(uv python find 3.12)
  fi
  make_env "$ROOT/.venv-core" "$python" "$ROOT/requirements-core.lock"
  if [ "$accelerator" = cpu ]; then return; fi
  if [ -n "$DRY_RUN" ]; then
    echo "# adds ${extra[*]} to .venv-core"
  else
    install_into "$ROOT/.venv-core" -c "$ROOT/requirements-core.lock" "${extra[@]}"
  fi
}

alive() { # the process is there, and is this run and not a later process with its number
  [ -f "$JOB/pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$JOB/pid")/cmdline" | grep -q fsa
}

start() {
  need_stage
  if alive; then
    say "a run is under way already (process $(cat "$JOB/pid"))"
    return
  fi
  mkdir -p "$JOB"
  rm -f "$JOB/status" "$JOB/pid"
  echo "--- $(date -u +%FT%TZ) fsa ${stage[*]}" >>"$JOB/log"
  # Apart from this shell's session, so that a lost connection does not end it.
  setsid "$0" supervise -- "${stage[@]}" >/dev/null 2>&1 </dev/null &
  until [ -f "$JOB/pid" ] && { alive || [ -f "$JOB/status" ]; }; do sleep 0.1; done
}

supervise() { # runs the stage and writes down how it ended
  local status
  trap : TERM # of a machine that goes down: the run gets it too, and saves
  "$ROOT/.venv-core/bin/fsa" "${stage[@]}" >>"$JOB/log" 2>&1 &
  echo $! >"$JOB/pid"
  while :; do
    status=0
    wait $! || status=$?
    alive || break
  done
  echo "$status" >"$JOB/status.new"
  mv "$JOB/status.new" "$JOB/status"
}

follow() {
  local tries=50
  [ -f "$JOB/pid" ] || fail "no run was started here"
  tail -n "$lines" --pid="$(cat "$JOB/pid")" -F "$JOB/log" 2>/dev/null || true
  # The run has ended: its status is written in a moment, unless it was killed with its shell.
  while [ ! -f "$JOB/status" ]; do
    [ $((tries -= 1)) -gt 0 ] || exit 1
    sleep 0.1
  done
  exit "$(cat "$JOB/status")"
}

stop() {
  local tries=600
  alive || return 0
  kill -TERM "$(cat "$JOB/pid")"
  while alive && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
  ! alive || kill -KILL "$(cat "$JOB/pid")" # it waits for a worker that is gone
}

case $verb in
  setup | start | supervise | follow | stop) "$verb" ;;
  -h | --help) parse '' --help ;;
  *) fail "expected setup, start, follow or stop; got '$verb'" ;;
esac

#!/usr/bin/env bash
# Runs a stage as several processes on this machine, and starts it again where it was after a crash.
#   ./launch/local.sh --processes=N [options] -- train --gin_file=F --output=DIR
#     --gpus              process i uses GPU i, in .venv-core with CUDA (./launch/worker.sh setup --accelerator=cuda
#                         makes it); without it every process sees all devices that .venv's jax does
#     --devices=M         M fake CPU devices a process: to try a mesh, not to be fast
#     --max-restarts=N    after crashes and preemptions; default 3
#     --dry-run           print the commands
# SIGTERM and ctrl-C reach the processes: they save and end, and are not started again.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

processes='' gpus='' devices='' max_restarts=3
parse 'processes devices max-restarts gpus!' "$@"
need processes
need_number processes max_restarts ${devices:+devices}
need_stage
if [ -n "$gpus" ]; then
  need_cuda
  export PATH="$ROOT/.venv-core/bin:$PATH"
else
  main_env
fi

free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# One process; its environment tells it which of how many it is, and where they meet.
process() {
  local number=$1 port=$2 settings=()
  if [ "$processes" -gt 1 ]; then
    settings+=("JAX_COORDINATOR_ADDRESS=127.0.0.1:$port" "JAX_NUM_PROCESSES=$processes" "JAX_PROCESS_ID=$number")
  fi
  [ -z "$gpus" ] || settings+=("CUDA_VISIBLE_DEVICES=$number")
  # A thread for each device: where they are fewer (XLA takes as many as cores), collectives wait for ever.
  [ -z "$devices" ] || settings+=(JAX_PLATFORMS=cpu "XLA_FLAGS=--xla_force_host_platform_device_count=$devices" "PJRT_NPROC=$((2 * devices))")
  if [ -n "$DRY_RUN" ]; then run env "${settings[@]}" fsa "${stage[@]}"; else exec env "${settings[@]}" fsa "${stage[@]}"; fi
}

if [ -n "$DRY_RUN" ]; then
  for ((i = 0; i < processes; i++)); do process "$i" PORT; done
  exit
fi

stopped='' running=()
stop() {
  stopped=1
  kill -TERM "${running[@]}" 2>/dev/null || true
}
trap stop TERM INT

wait_for_all() { # the first status that is not 0; once one process has failed, the others get a minute
  local worst=0 status pid left deadline=''
  while :; do
    left=()
    for pid in "${running[@]}"; do
      if kill -0 "$pid" 2>/dev/null; then left+=("$pid"); fi
    done
    for pid in "${running[@]}"; do
      [[ " ${left[*]} " == *" $pid "* ]] && continue
      status=0
      wait "$pid" || status=$?
      [ "$worst" -ne 0 ] || worst=$status
    done
    running=("${left[@]}")
    [ ${#running[@]} -gt 0 ] || return "$worst"
    if [ "$worst" -ne 0 ]; then
      deadline=${deadline:-$((SECONDS + 60))}
      [ "$SECONDS" -lt "$deadline" ] || kill -KILL "${running[@]}" 2>/dev/null || true
    fi
    sleep 0.2
  done
}

for ((restarts = 0; ; restarts++)); do
  port=$(free_port)
  for ((i = 0; i < processes; i++)); do
    process "$i" "$port" &
    running+=($!)
  done
  status=0
  wait_for_all || status=$?
  if [ "$status" -eq 0 ] || [ "$status" -eq "$BAD_INPUT" ] || [ -n "$stopped" ]; then exit "$status"; fi
  [ "$restarts" -lt "$max_restarts" ] || fail "gave up after $max_restarts restarts; the last ended with status $status"
  say "ended with status $status; restart $((restarts + 1)) of $max_restarts: it goes on from its newest checkpoint"
done

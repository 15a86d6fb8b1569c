# A run on TPU VMs: sourced by the scripts that rent them. Such a script defines `provision` (rents the machines
# and waits until they are there), `is_up` (whether they still are) and `drop` (deletes them), and sets `name`,
# `nodes` (the TPU VMs, one a slice), `where` (zone and project, as gcloud takes them), `setup` (a command for every
# worker at each start, or nothing) and `max_restarts`.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

name='' nodes=() where=() setup='' max_restarts=100
keep='' delete='' zone='' topology=''

remote() { # remote NODE WORKER COMMAND: over ssh; its status, or 255 when the connection is lost
  run gcloud compute tpus tpu-vm ssh "$1" "${where[@]}" --worker="$2" --command="$3"
}

on_all() { # on_all COMMAND: on every worker of every node, all at once
  local node job jobs=()
  for node in "${nodes[@]}"; do
    if [ -n "$DRY_RUN" ]; then
      remote "$node" all "$1"
    else
      remote "$node" all "$1" &
      jobs+=($!)
    fi
  done
  for job in "${jobs[@]}"; do wait "$job" || return; done
}

copy_to_all() { # copy_to_all FILE NAME
  local node
  for node in "${nodes[@]}"; do
    run gcloud compute tpus tpu-vm scp "$1" "$node:$2" "${where[@]}" --worker=all || return
  done
}

install() { # install ARCHIVE: this commit, and its environment, on every worker
  retry 4 copy_to_all "$1" fsa_jax.tar.gz || return
  [ -z "$setup" ] || retry 3 on_all "$setup" || return
  retry 3 on_all 'tar -xzf fsa_jax.tar.gz && fsa_jax/launch/worker.sh setup --accelerator=tpu'
}

# attempt ARCHIVE: installs, runs, and follows the log of worker 0 through lost connections. The status of the run.
attempt() {
  local lines=+1 status lost=0
  install "$1" || return 1
  retry 3 on_all "fsa_jax/launch/worker.sh start --$(printf ' %q' "${stage[@]}")" || return 1
  while :; do
    status=0
    remote "${nodes[0]}" 0 "fsa_jax/launch/worker.sh follow --lines=$lines" || status=$?
    [ "$status" -eq "$SSH_LOST" ] || break
    is_up && [ $((lost += 1)) -le 20 ] || return "$SSH_LOST"
    say "connection lost, the run goes on; connecting again in ${RETRY_SECONDS}s"
    sleep "$RETRY_SECONDS"
    lines=20
  done
  [ "$status" -eq 0 ] || return "$status"
  on_all 'fsa_jax/launch/worker.sh follow --lines=0' # the other workers end a little later
}

# run_to_the_end: rents, runs, and goes on after a preemption or a crash where the run had saved.
run_to_the_end() {
  local restarts=0 status archive=${TMPDIR:-/tmp}/fsa_jax-$name.tar.gz
  run git archive --format=tar.gz --prefix=fsa_jax/ --output="$archive" HEAD ||
    fail "cannot pack this commit (message above); nothing was done"
  provision
  while :; do
    status=0
    attempt "$archive" || status=$?
    [ "$status" -ne 0 ] || break
    if [ "$status" -eq "$BAD_INPUT" ]; then
      release
      fail "the run refused its input (its message is above); a restart would not help"
    fi
    if [ $((restarts += 1)) -gt "$max_restarts" ]; then
      release
      say "gave up after $max_restarts restarts (--max-restarts); the run's output folder holds its last checkpoint"
      exit 1
    fi
    case $status in
      "$PREEMPTED") say "preempted; the run had saved" ;;
      "$SSH_LOST") say "the machines are gone" ;;
      *) say "the run ended with status $status" ;;
    esac
    say "restart $restarts of $max_restarts: it goes on from its newest checkpoint"
    if is_up; then
      on_all 'fsa_jax/launch/worker.sh stop' || true # a worker may still wait for one that is gone
    else
      give_back || true
      provision
    fi
  done
  release
  say 'done'
}

give_back() { # deletes the machines
  retry 4 drop && return
  say "cannot delete $name: it is still rented; try $0 --delete --name=$name --zone=$zone"
  return 1
}

release() { # at the end, unless they are to be kept
  [ -n "$keep" ] || give_back || true
}

begin() { # what is asked for: only to delete, or a run whose options are checked here
  check_name "$name"
  if [ -n "$delete" ]; then
    give_back || exit 1
    exit
  fi
  need topology
  need_number max_restarts
  check_topology "$topology"
  need_stage
}

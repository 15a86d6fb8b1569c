# A run on TPU VMs: sourced by the scripts that rent them. Such a script defines `ask` (requests the machines) and
# `drop` (deletes them), and sets `name`, `nodes` (the TPU VMs, one a slice), `where` (zone and project, as gcloud
# takes them), `setup` (a command for every worker at each start, or nothing), `max_restarts`, and how the machines
# are known: `resource` and `field` (what gcloud describes, and where it tells the state), `up` (the state in which
# a run can start), `lost` (those that nothing but a new request ends), `otherwise` (what else there is to try).
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

name='' nodes=() where=() setup='' max_restarts=100
keep='' delete='' zone='' topology=''
resource='' field='' up='' lost='' otherwise=''
answered=''       # whether gcloud has answered yet
installs_failed=0 # in a row, on machines that are up

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

# -- whether the machines are there ----------------------------------------------------------------

# state: of the machines; nothing where there are none; a failing status where gcloud gave no answer.
state() {
  local log now status=0
  log=$(mktemp)
  if now=$(gcloud compute tpus "$resource" describe "$name" "${where[@]}" --format="value($field)" 2>"$log") ||
    grep -q NOT_FOUND "$log"; then
    echo "$now"
  else
    cat "$log" >&2
    status=1
  fi
  rm -f "$log"
  return "$status"
}

# answer: the state, waited for where gcloud gives none: an outage here says nothing of the machines there.
answer() {
  local now
  until now=$(state); do
    [ -n "$answered" ] || fail 'gcloud gives no answer (message above); nothing was done'
    say "gcloud gives no answer, the run goes on; asking again in ${POLL_SECONDS}s"
    sleep "$POLL_SECONDS"
  done
  echo "$now"
}

is_up() { [ -n "$DRY_RUN" ] || [ "$(answer)" = "$up" ]; }

provision() { # asks for the machines unless they are there, replaces lost ones, and waits until they are up
  local now before='' losses=0
  if [ -n "$DRY_RUN" ]; then
    ask
    return
  fi
  now=$(answer) || exit
  answered=1
  [ -z "$now" ] || say "$name was asked for already"
  until [ "$now" = "$up" ]; do
    [ "$now" = "$before" ] || say "$name is ${now:-gone}"
    before=$now
    if [ -z "$now" ]; then
      ask || [ -n "$(answer)" ] || fail "cannot get a $topology slice in $zone (message above)$otherwise"
    elif [[ " $lost " == *" $now "* ]]; then
      [ $((losses += 1)) -le 6 ] || fail "$name was $now time and again: gcloud compute tpus $resource describe $name"
      give_back || true
    elif [ "$now" = STOPPED ]; then # by somebody, who may want what is on its disk
      fail "$name is stopped: gcloud compute tpus $resource start $name ${where[*]}, or $0 --delete --name=$name --zone=$zone"
    else
      sleep "$POLL_SECONDS"
    fi
    now=$(answer)
  done
}

# -- the run -----------------------------------------------------------------------------------------

# attempt ARCHIVE: installs, runs, and follows the log of worker 0 through lost connections. The status of the run.
attempt() {
  local lines=+1 status doubted=0 breaks=0 began
  if ! install "$1"; then
    installs_failed=$((installs_failed + 1))
    return 1
  fi
  installs_failed=0
  retry 3 on_all "fsa_jax/launch/worker.sh start --$(printf ' %q' "${stage[@]}")" || return 1
  while :; do
    status=0 began=$SECONDS
    remote "${nodes[0]}" 0 "fsa_jax/launch/worker.sh follow --lines=$lines" || status=$?
    # 1 is also gcloud's, where it did not come to connect: believed when it is said again, as by a run that has ended.
    [[ $status -eq $SSH_LOST || ($status -eq 1 && $doubted -eq 0) ]] || break
    [ $((SECONDS - began)) -lt "$STEADY_SECONDS" ] || breaks=0
    is_up && [ $((breaks += 1)) -le 20 ] || return "$SSH_LOST"
    say "connection lost, the run goes on; connecting again in ${RETRY_SECONDS}s"
    sleep "$RETRY_SECONDS"
    lines=20 doubted=$((status == 1))
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
      if [ "$installs_failed" -ge 3 ]; then
        release
        fail "the install failed $installs_failed times in a row on machines that are up (message above)${setup:+: look at --setup}"
      fi
      on_all 'fsa_jax/launch/worker.sh stop' || true # a worker may still wait for one that is gone
    else
      installs_failed=0 # it was they that failed
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

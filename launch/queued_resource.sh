#!/usr/bin/env bash
# Runs a stage on TPU slices from the queue: asks for them, waits, installs this commit on all workers, runs,
# streams the log of worker 0, asks again after a preemption, deletes them.
#   ./launch/queued_resource.sh --name=NAME --topology=v5e:16x16 --zone=ZONE [options] -- train --gin_file=F --output=gs://…
#     --slices=N          slices that train together (multislice); default 1
#     --project=P         else gcloud's own
#     --setup=COMMAND     runs on every worker before each start, such as the mount of a folder that all of them share
#     --spot              cheaper, may be preempted
#     --reserved          from the project's reservation
#     --max-restarts=N    after preemptions and crashes; default 100
#     --keep              leave the slices there at the end
#     --delete            only delete them
#     --dry-run           print the commands
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=slices.sh
source "$(dirname "${BASH_SOURCE[0]}")/slices.sh"

name='' topology='' zone='' project='' setup='' spot='' reserved='' keep='' delete='' slices=1 max_restarts=100
parse 'name topology zone project setup slices max-restarts spot! reserved! keep! delete!' "$@"
need name zone
where=(--zone="$zone" ${project:+--project="$project"})
need_number slices
cd "$ROOT"
need_command gcloud 'the Google Cloud CLI'

queue() { run gcloud compute tpus queued-resources "$@"; }

state() { gcloud compute tpus queued-resources describe "$name" "${where[@]}" --format='value(state.state)' 2>/dev/null; }

ask() {
  local size
  if [ "$slices" -eq 1 ]; then size=(--node-id="$name"); else size=(--node-count="$slices" --node-prefix="$name"); fi
  retry 6 rent gcloud compute tpus queued-resources create "$name" "${where[@]}" "${size[@]}" \
    --accelerator-type="$(accelerator_type "$topology")" --runtime-version="$(runtime_version "$topology")" \
    ${spot:+--spot} ${reserved:+--reserved}
}

provision() {
  local now='' before='' failures=0
  if [ -z "$DRY_RUN" ] && [ -n "$(state)" ]; then
    say "$name was asked for already"
  else
    ask || fail "cannot queue for a $topology slice in $zone (message above)"
  fi
  while [ -z "$DRY_RUN" ]; do
    now=$(state) || now=UNKNOWN # a failed look is no answer
    [ "$now" = "$before" ] || say "$name is $now"
    before=$now
    case $now in
      ACTIVE) return ;;
      FAILED | SUSPENDED | SUSPENDING)
        [ $((failures += 1)) -le 6 ] || fail "$name was $now time and again: gcloud compute tpus queued-resources describe $name"
        give_back || true
        ask || fail "cannot queue for a $topology slice in $zone (message above)" ;;
    esac
    sleep "$POLL_SECONDS"
  done
}

is_up() { [ -n "$DRY_RUN" ] || [ "$(state)" = ACTIVE ]; }

drop() { queue delete "$name" "${where[@]}" --force --quiet; }

begin
if [ "$slices" -eq 1 ]; then
  nodes=("$name")
else
  mapfile -t nodes < <(seq -f "$name-%g" 0 $((slices - 1)))
fi
run_to_the_end

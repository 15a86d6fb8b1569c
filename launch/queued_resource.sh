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

resource=queued-resources field=state.state up=ACTIVE lost='FAILED SUSPENDED SUSPENDING'

ask() {
  local size
  if [ "$slices" -eq 1 ]; then size=(--node-id="$name"); else size=(--node-count="$slices" --node-prefix="$name"); fi
  retry 6 rent gcloud compute tpus queued-resources create "$name" "${where[@]}" "${size[@]}" \
    --accelerator-type="$(accelerator_type "$topology")" --runtime-version="$(runtime_version "$topology")" \
    ${spot:+--spot} ${reserved:+--reserved}
}

drop() { run gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet; }

begin
if [ "$slices" -eq 1 ]; then
  nodes=("$name")
else
  mapfile -t nodes < <(seq -f "$name-%g" 0 $((slices - 1)))
fi
run_to_the_end

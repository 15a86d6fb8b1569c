#!/usr/bin/env bash
# Runs a stage on a TPU slice that is created now: creates it, installs this commit on all workers, runs,
# streams the log of worker 0, starts again after a preemption, deletes it.
#   ./launch/tpu_vm.sh --name=NAME --topology=v5e:4x4 --zone=ZONE [options] -- train --gin_file=F --output=gs://…
#     --project=P         else gcloud's own
#     --setup=COMMAND     runs on every worker before each start, such as the mount of a folder that all of them share
#     --spot              cheaper, may be preempted
#     --max-restarts=N    after preemptions and crashes; default 100
#     --keep              leave the slice there at the end
#     --delete            only delete the slice
#     --dry-run           print the commands
# Bad input (exit status 2 of the run) ends it at once; any other end starts the same command again, which goes on
# from its newest checkpoint. Where a slice is hard to get, queued_resource.sh waits for one.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=slices.sh
source "$(dirname "${BASH_SOURCE[0]}")/slices.sh"

name='' topology='' zone='' project='' setup='' spot='' keep='' delete='' max_restarts=100
parse 'name topology zone project setup max-restarts spot! keep! delete!' "$@"
need name zone
nodes=("$name")
where=(--zone="$zone" ${project:+--project="$project"})
cd "$ROOT"
need_command gcloud 'the Google Cloud CLI'

resource=tpu-vm field=state up=READY lost='PREEMPTED TERMINATED'
otherwise='; ./launch/queued_resource.sh waits for one'

ask() {
  retry 6 rent gcloud compute tpus tpu-vm create "$name" "${where[@]}" \
    --accelerator-type="$(accelerator_type "$topology")" --version="$(runtime_version "$topology")" ${spot:+--spot}
}

drop() { run gcloud compute tpus tpu-vm delete "$name" "${where[@]}" --quiet; }

begin
run_to_the_end

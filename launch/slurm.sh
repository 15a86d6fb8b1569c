#!/usr/bin/env bash
# Runs a stage on GPU nodes of a Slurm cluster: one process a GPU, requeued where it was after a preemption or the
# time limit. The folder of this checkout and the output must be on a file system that all nodes share.
#   ./launch/slurm.sh --name=NAME --nodes=2 --gpus=8 [options] -- train --gin_file=F --output=/shared/runs/x
#     --gpus=N            GPUs of a node
#     --cpus=N            CPU cores of a process; default 8
#     --time=D-HH:MM:SS   limit of one go; default 1-00:00:00
#     --partition=P --account=A --constraint=C     as sbatch takes them
#     --max-restarts=N    after preemptions and crashes; default 100
#     --dry-run           print the job script
# The environment is .venv-core with CUDA (./launch/worker.sh setup --accelerator=cuda makes it, on a login node).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

name='' nodes='' gpus='' cpus=8 time=1-00:00:00 partition='' account='' constraint='' max_restarts=100
parse 'name nodes gpus cpus time partition account constraint max-restarts' "$@"
need name nodes gpus
check_name "$name"
need_stage
need_command sbatch 'the Slurm client'

job() {
  cat <<END
#!/usr/bin/env bash
#SBATCH --job-name=$name
#SBATCH --nodes=$nodes
#SBATCH --ntasks-per-node=$gpus
#SBATCH --gpus-per-node=$gpus
#SBATCH --cpus-per-task=$cpus
#SBATCH --time=$time
${partition:+#SBATCH --partition=$partition
}${account:+#SBATCH --account=$account
}${constraint:+#SBATCH --constraint=$constraint
}#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=$name-%j.log
# SIGTERM reaches the processes five minutes before the limit: they save and end with $PREEMPTED.
status=0
srun --kill-on-bad-exit=1 $(printf '%q ' "$ROOT/.venv-core/bin/fsa" "${stage[@]}")|| status=\$?
if [ "\$status" -eq 0 ] || [ "\$status" -eq $BAD_INPUT ]; then exit "\$status"; fi
if [ "\${SLURM_RESTART_COUNT:-0}" -ge $max_restarts ]; then
  echo "gave up after $max_restarts restarts" >&2
  exit "\$status"
fi
echo "ended with status \$status: requeued, it goes on from its newest checkpoint" >&2
scontrol requeue "\$SLURM_JOB_ID"
END
}

if [ -n "$DRY_RUN" ]; then
  job
  exit
fi
[ -x "$ROOT/.venv-core/bin/fsa" ] || fail "no environment yet: ./launch/worker.sh setup --accelerator=cuda"
job | sbatch

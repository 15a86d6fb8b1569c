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

name='' cpus=8 time=1-00:00:00
parse 'name nodes gpus cpus time partition account constraint max-restarts' "$@"
need name nodes gpus
check_name "$name"
need_number nodes gpus cpus max_restarts
need_stage
fsa=$ROOT/.venv-core/bin/fsa
need_cuda

# srun does not take --cpus-per-task from the job (Slurm 22.05 and later). It ends with the highest status of all tasks,
# so none is killed because another ended with 2: that would make 143 of bad input, and requeue it. They end each other
# within seconds, or by themselves where they did not meet in DistributedConfig.start_seconds (300), then by a signal:
# srun ends what is left after 600, and what it says of each task tells bad input from that.
submit_slurm "$(slurm_header)
#SBATCH --ntasks-per-node=$gpus
#SBATCH --output=$name-%j.log
status=0
srun --cpus-per-task=$cpus --kill-on-bad-exit=0 --wait=600 $(printf '%q ' "$fsa" "${stage[@]}")|| status=\$?
if grep -qsE 'tasks? [0-9,-]+: Exited with exit code $BAD_INPUT\$' $name-\$SLURM_JOB_ID.log; then status=$BAD_INPUT; fi
$(requeue)"

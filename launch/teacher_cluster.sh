#!/usr/bin/env bash
# Asks a large language model on n nodes at once: shard i of n on each, as a Slurm array or an indexed Job of GKE.
#   ./launch/teacher_cluster.sh --on=slurm --name=NAME --shards=8 --gpus=4 [options] -- teach OPTIONS --output=DIR
#   ./launch/teacher_cluster.sh --on=gke --name=NAME --shards=8 --gpus=8 --image=IMAGE --claim=PVC [options] -- teach …
#     --gpus=N            GPUs of a node, which share one copy of the model unless VLLMConfig says otherwise
#     --max-restarts=N    of a shard, after preemptions, crashes and Slurm's time limit; default 100
#     --dry-run           print the job script or the manifest
#   Slurm: --cpus=N (default 16) --time=D-HH:MM:SS (1-00:00:00) --partition=P --account=A --constraint=C
#   GKE:   --accelerator=T (node label, default nvidia-h100-80gb) --spot --secret=S (its entries become environment
#          variables, such as HF_TOKEN); --claim names a volume that many nodes may write, mounted at /data
# Shard i writes DIR/shard-i; DIR is what `fsa corpus` reads, and it refuses a folder where one is missing. On one
# node use teacher.sh. On TPU hosts: pip install vllm-tpu beside fsa_jax, in an environment of its own.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

on='' name='' shards='' nodes=1 cpus=16 time=1-00:00:00
image='' claim='' accelerator=nvidia-h100-80gb spot='' secret=''
parse 'on name shards gpus cpus time partition account constraint max-restarts image claim accelerator secret spot!' "$@"
need on name shards gpus
check_name "$name"
need_number shards gpus cpus max_restarts
need_stage

# The stage without its --output, which goes into the variable of that name: every shard writes a part of it.
read_stage() {
  local word
  output='' command=("${stage[0]}" "--gin.VLLMConfig.tensor_parallel_size=$gpus")
  for word in "${stage[@]:1}"; do
    case $word in
      --output=*) output=${word#--output=} ;;
      *) command+=("$word") ;;
    esac
  done
  [ -n "$output" ] || fail "the stage needs --output=DIR on a file system that all nodes share"
}

slurm_job() {
  local task=\$SLURM_ARRAY_TASK_ID
  cat <<END
$(slurm_header)
#SBATCH --array=0-$((shards - 1))
#SBATCH --output=$name-%A_%a.log
status=0
srun --cpus-per-task=$cpus $(printf '%q ' "$ROOT/launch/teacher.sh" "${command[@]}")--shard=$task/$shards $(printf %q "--output=$output")/shard-$task || status=\$?
$(requeue)
END
}

gke_job() {
  local list
  list=$(json_list "${command[@]}" "--shard=\$(SHARD)/$shards" "--output=$output/shard-\$(SHARD)") || exit
  cat <<END
apiVersion: batch/v1
kind: Job
metadata:
  name: $name
spec:
  completionMode: Indexed
  completions: $shards
  parallelism: $shards
  backoffLimitPerIndex: $max_restarts
  podFailurePolicy:
    rules:
      - action: Ignore
        onPodConditions:
          - type: DisruptionTarget
            status: 'True'
      - action: FailJob
        onExitCodes:
          containerName: teacher
          operator: In
          values: [$BAD_INPUT]
  template:
    spec:
      restartPolicy: Never
      nodeSelector:
        cloud.google.com/gke-accelerator: $accelerator
${spot:+        cloud.google.com/gke-spot: 'true'
}      containers:
        - name: teacher
          image: $image
          args: $list
          env:
            - name: SHARD
              valueFrom:
                fieldRef:
                  fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
${secret:+          envFrom:
            - secretRef:
                name: $secret
}          resources:
            limits:
              nvidia.com/gpu: $gpus
          volumeMounts:
            - name: data
              mountPath: /data
            - name: shared-memory
              mountPath: /dev/shm
      volumes:
        - name: data
          persistentVolumeClaim:
            claimName: $claim
        - name: shared-memory
          emptyDir:
            medium: Memory
END
}

read_stage
case $on in
  slurm)
    job=$(slurm_job)
    submit_slurm "$job"
    ;;
  gke)
    need image claim
    job=$(gke_job)
    apply_manifest "$job"
    ;;
  *) fail "--on=$on: expected slurm or gke" ;;
esac

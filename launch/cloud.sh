# Sourced by the scripts that rent machines: their options, retries, slices, and what an exit status means.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the statuses are for the scripts that source this
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

RETRY_SECONDS=${RETRY_SECONDS:-15}    # before the second try; doubles
POLL_SECONDS=${POLL_SECONDS:-30}      # between looks at a state
STEADY_SECONDS=${STEADY_SECONDS:-600} # a connection that held so long is none of those that never come about
BAD_INPUT=2                           # of fsa: no restart would help
PREEMPTED=143                         # of fsa: it had saved
SSH_LOST=255                          # of ssh

say() { echo "${0##*/}: $*" >&2; }

# parse NAMES "$@": --name=value of each of NAMES goes into the variable of that name (dashes become
# underscores), a switch (NAMES entry `name!`) becomes 1, all after -- goes into the array `stage`.
parse() {
  local names=" $1 " argument option
  shift
  stage=()
  while [ $# -gt 0 ]; do
    argument=$1
    shift
    option=${argument#--}
    option=${option%%=*}
    case $argument in
      --)
        stage=("$@")
        return
        ;;
      -h | --help)
        print_help
        exit
        ;;
      --dry-run) DRY_RUN=1 ;;
      --*=*)
        [[ $names == *" $option "* ]] || fail "unknown option --$option (see $0 --help)"
        printf -v "${option//-/_}" %s "${argument#*=}"
        ;;
      --*)
        [[ $names == *" $option! "* ]] || fail "unknown option, or one without a value: $argument (see $0 --help)"
        printf -v "${option//-/_}" 1
        ;;
      *) fail "unexpected argument $argument: the stage and its options come after --" ;;
    esac
  done
}

need() { # need VARIABLE…: these options must have a value
  local option
  for option in "$@"; do
    [ -n "${!option}" ] || fail "needs --${option//_/-}=… (see $0 --help)"
  done
}

need_number() { # need_number VARIABLE…: these options must be whole numbers, and only --max-restarts may be 0
  local option
  for option in "$@"; do
    [[ ${!option} =~ ^[1-9][0-9]*$ || "$option ${!option}" = 'max_restarts 0' ]] ||
      fail "--${option//_/-}=${!option}: expected a number from 1 on"
  done
}

need_cuda() { # the environment that has jax with CUDA, which .venv's lock has not
  [ -n "$DRY_RUN" ] || [ -x "$ROOT/.venv-core/bin/fsa" ] ||
    fail "no environment yet: ./launch/worker.sh setup --accelerator=cuda"
}

need_stage() { # a stage of fsa after --
  local word
  [ ${#stage[@]} -gt 0 ] || fail "needs the stage to run after --: $0 … -- train --gin_file=… --output=…"
  for word in "${stage[@]}"; do
    [ "$word" != --overwrite ] || fail '--overwrite would delete the checkpoints at each restart: delete the output once, by hand'
  done
}

need_command() { [ -n "$DRY_RUN" ] || command -v "$1" >/dev/null || fail "needs $1 on PATH: $2"; }

# retry TRIES COMMAND…: again after RETRY_SECONDS, then twice that, and so on.
retry() {
  local tries=$1 pause=$RETRY_SECONDS try
  shift
  for ((try = 1; ; try++)); do
    "$@" && return
    [ "$try" -lt "$tries" ] || return 1
    say "failed (try $try of $tries), again in ${pause}s: ${*:1:6} …"
    sleep "$pause"
    pause=$((pause * 2))
  done
}

# rent COMMAND…: a command that creates machines. No quota is final; no capacity now is worth another try.
rent() {
  local log status=0
  log=$(mktemp)
  run "$@" 2>"$log" || status=$?
  cat "$log" >&2
  if [ "$status" -ne 0 ] && grep -qiE 'quota|permission|not authorized|PERMISSION_DENIED' "$log"; then
    rm -f "$log"
    fail "not allowed to rent this (message above): ask for quota or access in the project, or choose another --zone"
  fi
  rm -f "$log"
  return "$status"
}

# -- slices, named as `fsa plan` names them: v5e:4x4 -----------------------------------------------

slice_chips() { # v4:2x2x4 -> 16
  local chips=1 side
  for side in ${1#*:}; do :; done
  for side in ${side//x/ }; do chips=$((chips * side)); done
  echo "$chips"
}

check_topology() {
  [[ $1 =~ ^(v4|v5p):[0-9]+x[0-9]+x[0-9]+$ || $1 =~ ^(v5e|v6e):[0-9]+x[0-9]+$ ]] ||
    fail "--topology=$1: expected v5e:4x4, v6e:4x4, v4:2x2x4, v5p:2x2x4 or the like"
}

slice_hosts() { # virtual machines of a slice: four chips each, fewer chips are one machine
  local chips
  chips=$(slice_chips "$1")
  echo $((chips > 4 ? chips / 4 : 1))
}

accelerator_type() { # as gcloud names it: v4 and v5p count cores, two a chip
  local chips
  chips=$(slice_chips "$1")
  case $1 in
    v4:* | v5p:*) echo "${1%%:*}-$((2 * chips))" ;;
    v5e:*) echo "v5litepod-$chips" ;;
    v6e:*) echo "v6e-$chips" ;;
  esac
}

runtime_version() { # the TPU VM image of a generation
  case $1 in
    v4:*) echo tpu-ubuntu2204-base ;;
    v5e:*) echo v2-alpha-tpuv5-lite ;;
    v5p:*) echo v2-alpha-tpuv5 ;;
    v6e:*) echo v2-alpha-tpuv6e ;;
  esac
}

gke_accelerator() { # the node label of a generation
  case $1 in
    v4:*) echo tpu-v4-podslice ;;
    v5e:*) echo tpu-v5-lite-podslice ;;
    v5p:*) echo tpu-v5p-slice ;;
    v6e:*) echo tpu-v6e-slice ;;
  esac
}

# -- manifests ---------------------------------------------------------------------------------------

json_list() { # words as a JSON list, which is YAML too; call it outside of a here-document, which hides its failure
  local word separator='' text='['
  for word in "$@"; do
    [[ $word != *[[:cntrl:]]* ]] || fail "a word of the stage holds a control character"
    word=${word//\\/\\\\}
    text+="$separator\"${word//\"/\\\"}\""
    separator=', '
  done
  echo "$text]"
}

check_name() { # as Google Cloud, Kubernetes and Slurm take it
  [[ $1 =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] ||
    fail "--name=$1: expected lower-case letters, digits and dashes, at most 40"
}

apply_manifest() { # apply_manifest TEXT: prints it under --dry-run
  local file
  if [ -n "$DRY_RUN" ]; then
    echo "$1"
    echo '# kubectl apply --filename=-'
    return
  fi
  need_command kubectl 'https://kubernetes.io/docs/tasks/tools'
  file=$(mktemp)
  echo "$1" >"$file"
  retry 4 rent kubectl apply --filename="$file" || fail "cannot create it (message above)"
  rm -f "$file"
}

# -- Slurm: what the job scripts share -----------------------------------------------------------------

# The settings of the job scripts, which the options of the script set.
name='' nodes='' gpus='' cpus='' time='' partition='' account='' constraint='' max_restarts=100

slurm_header() { # SIGTERM reaches the processes five minutes before the limit: they save, and the job is requeued
  cat <<END
#!/usr/bin/env bash
#SBATCH --job-name=$name
#SBATCH --nodes=$nodes
#SBATCH --gpus-per-node=$gpus
#SBATCH --cpus-per-task=$cpus
#SBATCH --time=$time
${partition:+#SBATCH --partition=$partition
}${account:+#SBATCH --account=$account
}${constraint:+#SBATCH --constraint=$constraint
}#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@300
END
}

requeue() { # the end of a job script: what \$status means
  cat <<END
if [ "\$status" -eq 0 ] || [ "\$status" -eq $BAD_INPUT ]; then exit "\$status"; fi
if [ "\${SLURM_RESTART_COUNT:-0}" -ge $max_restarts ]; then
  echo "gave up after $max_restarts restarts" >&2
  exit "\$status"
fi
echo "ended with status \$status: requeued, it goes on where it was" >&2
scontrol requeue "\$SLURM_JOB_ID"
END
}

submit_slurm() { # submit_slurm JOB: prints it under --dry-run
  if [ -n "$DRY_RUN" ]; then
    echo "$1"
  else
    need_command sbatch 'the Slurm client'
    sbatch <<<"$1"
  fi
}

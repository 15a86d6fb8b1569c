#!/usr/bin/env bash
# Runs a stage on TPU slices of a GKE cluster, as a JobSet (one Job a slice), and streams the log of worker 0.
#   ./launch/gke.sh --name=NAME --topology=v5e:4x4 --image=IMAGE [options] -- train --gin_file=F --output=gs://…
#     --slices=N          slices that train together (multislice); default 1
#     --max-restarts=N    of the JobSet, after preemptions and crashes; default 100
#     --queue=Q           Kueue's local queue; default multislice-queue, as xpk sets clusters up; none: --queue=
#     --service-account=A Kubernetes service account with access to the bucket; default: default
#     --secret=S          a Kubernetes secret whose entries become environment variables (HF_TOKEN)
#     --claim=PVC         a volume that all workers may write, mounted at /data
#     --spot              on spot nodes
#     --detach            do not wait and stream
#     --delete            only delete the JobSet
#     --dry-run           print the manifest and the commands
# The cluster needs the JobSet controller and node pools of that topology (xpk cluster create makes both). Exit
# status 2 of the run (bad input) fails the JobSet at once; anything else restarts it from its newest checkpoint.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

name='' topology='' image='' slices=1 queue=multislice-queue service_account=default secret='' claim='' spot='' detach='' delete=''
parse 'name topology image slices max-restarts queue service-account secret claim spot! detach! delete!' "$@"
need name
check_name "$name"

if [ -n "$delete" ]; then
  need_command kubectl 'https://kubernetes.io/docs/tasks/tools'
  run kubectl delete jobset "$name"
  exit
fi
need topology image
check_topology "$topology"
need_stage
need_number slices max_restarts

manifest() {
  local hosts chips words
  words=$(json_list "${stage[@]}") || exit
  hosts=$(slice_hosts "$topology")
  chips=$(($(slice_chips "$topology") / hosts))
  cat <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
  labels:
    xpk.google.com/workload: $name
${queue:+    kueue.x-k8s.io/queue-name: $queue
}  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: $max_restarts
    rules:
      - name: badInput
        action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: slice-job
      replicas: $slices
      template:
        spec:
          parallelism: $hosts
          completions: $hosts
          completionMode: Indexed
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes:
                  containerName: jax-tpu
                  operator: In
                  values: [$BAD_INPUT]
          template:
            metadata:
              labels:
                xpk.google.com/workload: $name
            spec:
              restartPolicy: Never
              serviceAccountName: $service_account
              hostNetwork: true
              dnsPolicy: ClusterFirstWithHostNet
              terminationGracePeriodSeconds: 120
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $(gke_accelerator "$topology")
                cloud.google.com/gke-tpu-topology: ${topology#*:}
${spot:+                cloud.google.com/gke-spot: 'true'
}              containers:
                - name: jax-tpu
                  image: $image
                  args: $words
                  ports:
                    - containerPort: 8471
                    - containerPort: 8080
                  securityContext:
                    privileged: true
${secret:+                  envFrom:
                    - secretRef:
                        name: $secret
}                  resources:
                    requests:
                      google.com/tpu: $chips
                    limits:
                      google.com/tpu: $chips
${claim:+                  volumeMounts:
                    - name: data
                      mountPath: /data
              volumes:
                - name: data
                  persistentVolumeClaim:
                    claimName: $claim}
END
}

# The pod of worker 0 of slice 0; a restart makes another.
first_pod() {
  kubectl get pods --selector="jobset.sigs.k8s.io/jobset-name=$name,jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0" \
    --field-selector=status.phase!=Pending --sort-by=.metadata.creationTimestamp --output=name | tail -n 1
}

terminal_state() { kubectl get jobset "$name" --output='jsonpath={.status.terminalState}'; }

follow() {
  local pod followed='' now lost=0 lines=-1 # all
  while :; do
    if now=$(terminal_state); then
      lost=0
    elif [ $((lost += 1)) -gt 20 ]; then
      fail "the cluster does not answer; the JobSet goes on without this: kubectl get jobset $name"
    fi
    pod=$(first_pod) || pod=''
    if [ -n "$pod" ] && [ "$pod" != "$followed" ]; then
      if kubectl logs --follow --tail="$lines" "$pod"; then
        followed=$pod lines=-1
        continue
      fi
      say "the log stream broke off, the JobSet goes on; taken up again"
      lines=20
    fi
    case $now in
      Completed)
        say 'done'
        return
        ;;
      Failed)
        say "the JobSet failed (its messages are above, or in: kubectl describe jobset $name)"
        return 1
        ;;
    esac
    sleep "$POLL_SECONDS"
  done
}

job_set=$(manifest)
apply_manifest "$job_set"
[ -n "$detach$DRY_RUN" ] || follow

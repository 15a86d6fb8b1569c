"""Run by test_meeting.py: joins the processes its environment names, and prints who it is.

With `tpu` it takes this machine for a TPU VM, as JAX does where it finds chips and libtpu.
"""

import os
import sys

import jax
from jax._src import cloud_tpu_init
from jax._src.clusters import cloud_tpu_cluster

from fsa_jax import distributed
from fsa_jax.configs import DistributedConfig


def main(machine: str) -> None:
    if machine == 'tpu':
        cloud_tpu_init.running_in_cloud_tpu_vm = cloud_tpu_cluster.running_in_cloud_tpu_vm = True
        os.environ.pop('TPU_SKIP_MDS_QUERY', None)  # set by JAX where it finds no chips
        jax.config.update('jax_platforms', 'cpu')
    with distributed.start(DistributedConfig()) as hosts:
        first = hosts.first(lambda: 'of process 0')
        hosts.agree('config', {'same': 1})
        hosts.barrier('end')
        print(f'process {hosts.index} of {jax.process_count()}, main: {hosts.main}, heard {first}')


if __name__ == '__main__':
    main(sys.argv[1])

"""Run by test_meeting.py: joins the processes its environment names, and prints who it is.

With `tpu` it takes this machine for a TPU VM, as JAX does where it finds chips and libtpu. With `hang`
process 1 hangs, and its end breaks what process 0 waits for; with `fail` it fails, while process 0 waits.
"""

import os
import sys
from typing import NoReturn

import jax
from jax._src import cloud_tpu_init
from jax._src.clusters import cloud_tpu_cluster
from jax._src.distributed import global_state

from fsa_jax import distributed
from fsa_jax.configs import DistributedConfig
from fsa_jax.errors import UserError
from fsa_jax.hosts import Hosts


def main(machine: str) -> None:
    if machine == 'tpu':
        cloud_tpu_init.running_in_cloud_tpu_vm = cloud_tpu_cluster.running_in_cloud_tpu_vm = True
        os.environ.pop('TPU_SKIP_MDS_QUERY', None)  # set by JAX where it finds no chips
        jax.config.update('jax_platforms', 'cpu')
    with distributed.start(DistributedConfig()) as hosts:
        if machine == 'hang':
            hang(hosts)
        if machine == 'fail' and hosts.index == 1:
            raise UserError('no room')
        first = hosts.first(lambda: 'of process 0')
        hosts.agree('config', {'same': 1})
        hosts.barrier('end')
        print(f'process {hosts.index} of {jax.process_count()}, main: {hosts.main}, heard {first}')


def hang(hosts: Hosts) -> NoReturn:
    if hosts.index == 1:
        hosts.hung('process 1 has done nothing')
    global_state.client.blocking_key_value_get('fsa/alarm', 60_000)
    raise RuntimeError('connection closed by peer')


if __name__ == '__main__':
    try:
        main(sys.argv[1])
    except UserError as error:
        print(f'fsa: {error}', flush=True)
        sys.exit(2)

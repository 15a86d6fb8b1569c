"""Where the processes of a run meet: from the config, the environment, or the cluster's own variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from jax._src import cloud_tpu_init  # no public name says whether this is a TPU VM

from fsa_jax.configs import DistributedConfig
from fsa_jax.errors import UserError

_OMPI_PORT = 8476  # where processes that Open MPI 5 started on one host meet


@dataclass(frozen=True)
class Rendezvous:
    """What jax.distributed.initialize is told; None and '' leave it to the cluster's detection."""

    coordinator: str
    processes: int | None
    process_id: int | None
    cluster: str


def find(config: DistributedConfig, environ: Mapping[str, str] = os.environ) -> Rendezvous | None:
    """Where this process meets the others; None where it is alone. UserError where a part is missing."""
    coordinator = config.coordinator or environ.get('JAX_COORDINATOR_ADDRESS', '')
    processes = config.processes or _number(environ, 'JAX_NUM_PROCESSES')
    process_id = _number(environ, 'JAX_PROCESS_ID') if config.process_id < 0 else config.process_id
    cluster = {'auto': detected(environ), 'off': ''}.get(config.cluster, config.cluster)
    if cluster == 'ompi' and 'OMPI_MCA_orte_hnp_uri' not in environ:
        # Open MPI 5 no longer says where its processes could meet, which JAX's detection needs.
        cluster = ''
        processes = processes or _number(environ, 'OMPI_COMM_WORLD_SIZE')
        process_id = _number(environ, 'OMPI_COMM_WORLD_RANK') if process_id is None else process_id
        if processes == _number(environ, 'OMPI_COMM_WORLD_LOCAL_SIZE'):
            coordinator = coordinator or f'localhost:{_OMPI_PORT}'
    if cluster:
        return Rendezvous(coordinator, processes, process_id, cluster)
    if not coordinator and (processes or 1) == 1:
        return None
    if not coordinator:
        raise UserError(
            f'{processes} processes, but nothing says where they meet; set DistributedConfig.'
            "coordinator='host:port' of process 0 (or JAX_COORDINATOR_ADDRESS)"
        )
    if processes is None or process_id is None:
        raise UserError(
            f'the coordinator is {coordinator}, but which process is this, of how many? set '
            'DistributedConfig.process_id and processes (or JAX_PROCESS_ID, JAX_NUM_PROCESSES)'
        )
    return Rendezvous(coordinator, processes, process_id, '')


def detected(environ: Mapping[str, str]) -> str:
    """JAX's name of the cluster that started this process as one of several, or ''."""
    if 'SLURM_STEP_NODELIST' in environ and (_number(environ, 'SLURM_NTASKS') or 1) > 1:
        return 'slurm'
    if (_number(environ, 'OMPI_COMM_WORLD_SIZE') or 1) > 1:
        return 'ompi'
    if not cloud_tpu_init.running_in_cloud_tpu_vm or environ.get('JAX_PLATFORMS') == 'cpu':
        return ''
    on_gke = 'TPU_WORKER_HOSTNAMES' in environ or 'TPU_PROCESS_ADDRESSES' in environ
    return 'gketpu' if on_gke else 'gcetpu'


def _number(environ: Mapping[str, str], variable: str) -> int | None:
    value = environ.get(variable, '')
    if value and not value.isdigit():
        raise UserError(f'{variable} must be a whole number; got {value!r}')
    return int(value) if value else None

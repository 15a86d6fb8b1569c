"""Several processes, on one host or many, as one run."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class DistributedConfig(Config):
    """The processes of a run. On TPU VMs, GKE, Slurm and Open MPI they find each other; elsewhere
    say where they meet, here or by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID."""

    coordinator: str = knob('', "'host:port' of process 0, the same for all", free=True)
    processes: int = knob(0, 'how many; 0: as the cluster says', low=0, free=True)
    process_id: int = knob(
        -1, 'number of this one, from 0; -1: as the cluster says', low=-1, free=True
    )
    cluster: Literal['auto', 'off', 'gcetpu', 'gketpu', 'slurm', 'ompi', 'mpi4py', 'k8s'] = knob(
        'auto', "which of JAX's cluster detections to use; 'off': none", free=True
    )
    start_seconds: int = knob(300, 'how long to wait for the others at the start', low=1, free=True)
    heartbeat_seconds: int = knob(
        100, 'a process silent for so long is dead, and the others end too', low=5, free=True
    )

    def check(self):
        if self.coordinator and ':' not in self.coordinator:
            raise UserError(
                f"DistributedConfig.coordinator must be 'host:port'; got {self.coordinator!r}"
            )
        if self.processes and self.process_id >= self.processes:
            raise UserError(
                f'DistributedConfig.process_id={self.process_id}: expected 0 to '
                f'{self.processes - 1} (DistributedConfig.processes={self.processes})'
            )

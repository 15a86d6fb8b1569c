"""Run by test_train_processes.py in a process with eight devices: `python -m … RUN.gin FOLDER`.

Restores the newest state of a run over eight devices and over one, and prints whether they are equal.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from fsa_jax import gin_registry, stages
from fsa_jax.configs import MeshConfig
from fsa_jax.partition import Partition
from fsa_jax.train.checkpoint import Checkpoints
from fsa_jax.train.job import prepare


def main(gin: Path, folder: Path) -> None:
    classes = stages.STAGES['train'].configs
    train, model, rows, optimizer, *_ = gin_registry.build(classes, [str(gin)], [], [])
    checkpoints = Checkpoints(folder, keep=2, best_step=lambda: None)
    states = []
    for mesh, count in ((MeshConfig(fsdp=8, preset='fsdp'), 8), (MeshConfig(), 1)):
        partition = Partition.from_config(mesh, jax.devices()[:count])
        state = checkpoints.restore(prepare(train, model, rows, optimizer, partition).abstract)
        assert {len(x.sharding.device_set) for x in jax.tree.leaves(state)} == {count}
        states.append(state)
    jax.tree.map(np.testing.assert_array_equal, *states)
    print(f'step {int(states[0].step)} over 8 devices and over 1: equal')


if __name__ == '__main__':
    main(*map(Path, sys.argv[1:]))

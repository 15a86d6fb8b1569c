"""Group sizes follow from what a seed takes and what is free."""

import jax
import pytest

from fsa_jax.partition import Partition
from fsa_jax.train import seeds_memory
from fsa_jax.train.job import prepare
from tests import training


@pytest.mark.parametrize(
    ('count', 'free', 'devices', 'expected'),
    [
        (10, 1000, 1, [10]),
        (10, 70, 1, [5, 5]),  # 85 % of 70 holds five of 10
        (10, 50, 1, [4, 3, 3]),
        (10, 5, 1, [1] * 10),  # at least one: that it may not fit is for the device to say
        (10, 70, 2, [10]),  # five on each device
        (8, 15, 8, [8]),  # one on each device
    ],
)
def test_groups_are_few_and_even(count, free, devices, expected):
    assert seeds_memory.group_sizes(count, 10, free, devices) == expected


def test_the_estimate_is_near_what_is_compiled(tmp_path, tiny_spiece):
    """XLA's own count of a step's temporaries and arguments, within a factor of two."""
    packed = training.pack(tmp_path / 'p', tiny_spiece)
    train, model, rows, optimizer, mesh, _ = training.configs(
        packed, tmp_path, d_model=128, d_ff=512
    )
    partition = Partition.from_config(mesh)
    job = prepare(train, model, rows, optimizer, partition)
    estimate = seeds_memory.seed_bytes(job)
    parameters = sum(x.size for x in jax.tree.leaves(job.abstract.params))
    assert estimate.parameters == 4 * parameters
    assert estimate.optimizer == pytest.approx(8 * parameters, rel=0.01)
    from fsa_jax.train.step import compile_train_step

    batch = {
        name: jax.ShapeDtypeStruct((1, *x.shape), x.dtype)
        for name, x in job.rows.batch_at(0).items()
    }
    step = compile_train_step(job.loss, job.optimizer, job.train, job.partition, job.shardings)
    with partition.context():
        found = step.lower(job.abstract, batch).compile().memory_analysis()
    held = found.temp_size_in_bytes + found.argument_size_in_bytes
    assert (
        0.5 < (estimate.total - estimate.parameters) / held < 2
    )  # less the best, which it has not
    assert seeds_memory.free_bytes() > 0

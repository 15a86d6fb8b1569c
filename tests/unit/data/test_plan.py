"""What an epoch holds: mixtures by rate, restarts, and orders that depend on seed and epoch alone."""

import collections

import numpy as np
import pytest

from fsa_jax.data.plan import draw, epoch_counts, permutation


@pytest.mark.parametrize(
    ('rates', 'epoch', 'counts'),
    [
        ([100, 300], 'total', [100, 300]),  # in proportion to size: one pass of each
        ([1, 1], 'total', [200, 200]),
        ([1, 1], 'largest', [300, 300]),  # the smaller is read three times
        ([3, 1], 'largest', [900, 300]),
        ([1, 0], 'total', [100, 0]),
        ([0, 2], 'largest', [0, 300]),
        ([1e-9, 1], 'total', [1, 400]),  # a task with a rate is not dropped
    ],
)
def test_pairs_a_task_gives_to_an_epoch(rates, epoch, counts):
    assert epoch_counts([100, 300], rates, epoch) == counts


@pytest.mark.parametrize('shuffle', [True, False])
def test_an_exhausted_task_restarts_and_reads_all_pairs_equally_often(shuffle):
    counts = [7, 20]  # of 10 and 20
    seen = collections.Counter()
    for epoch in range(10):
        pairs = draw([10, 20], counts, seed=3, epoch=epoch, shuffle=shuffle)
        assert (pairs < 10).sum() == 7
        assert len(pairs) == 27
        assert len(set(pairs[pairs >= 10].tolist())) == 20
        seen.update(pairs.tolist())
    assert {seen[i] for i in range(10)} == {7}
    assert {seen[i] for i in range(10, 30)} == {10}


def test_a_stretch_over_several_passes():
    pairs = draw([4], [9], seed=0, epoch=1, shuffle=True)  # places 9 to 17: passes 2, 3 and 4
    assert sorted(collections.Counter(pairs.tolist()).values()) in ([2, 2, 2, 3], [1, 2, 3, 3])


def test_tasks_are_spread_evenly_without_shuffling():
    pairs = draw([4, 2], [4, 2], seed=0, epoch=0, shuffle=False)
    assert pairs.tolist() == [0, 4, 1, 2, 5, 3]


def test_orders_differ_by_epoch_and_seed_and_are_repeated():
    orders = {
        (seed, epoch): tuple(draw([50], [50], seed=seed, epoch=epoch, shuffle=True).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    again = draw([50], [50], seed=1, epoch=1, shuffle=True)
    assert tuple(again.tolist()) == orders[1, 1]
    assert sorted(again.tolist()) == list(range(50))


def test_the_permutation_is_the_same_for_ever():
    """Golden: resuming after an upgrade of NumPy must read the same batches."""
    assert permutation(8, 42, 0, 1).tolist() == [6, 1, 5, 0, 4, 2, 7, 3]
    assert np.unique(permutation(1000, 5)).tolist() == list(range(1000))

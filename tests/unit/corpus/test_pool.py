"""The pool of candidates: the smallest priorities, whatever the order they come in."""

import hypothesis.strategies as st
from hypothesis import given

from fsa_jax.corpus.pool import Pool

PRIORITIES = st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=60)


@given(PRIORITIES, st.integers(0, 7))
def test_the_smallest_priorities_are_kept_with_their_numbers(priorities, limit):
    pool = Pool(limit)
    for number, priority in enumerate(priorities):
        if pool.takes(priority):
            pool.add(priority, number)
    kept, numbers = pool.sorted()
    expected = sorted(zip(priorities, range(len(priorities))))[: limit or None]
    assert list(zip(kept.tolist(), numbers.tolist())) == expected
    assert not limit or len(pool._numbers) < 2 * limit, 'memory is bounded'


def test_what_can_no_longer_be_drawn_is_not_taken():
    pool = Pool(2)
    for priority in (5, 3, 4, 1):
        assert pool.takes(priority)
        pool.add(priority, priority)
    assert not pool.takes(4)
    assert pool.takes(2)

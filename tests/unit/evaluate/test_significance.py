"""Paired tests, against enumeration by hand and against a world whose answer is known."""

import itertools

import numpy as np
import pytest

from fsa_jax.errors import UserError
from fsa_jax.evaluate import bootstrap, f1
from fsa_jax.evaluate.significance import compare


def counts(right: list[int]) -> np.ndarray:
    """Sentences with one gold and one predicted pair, right or not."""
    golds = ['food | positive'] * len(right)
    predictions = ['food | positive' if hit else 'food | negative' for hit in right]
    return f1.count('acsa', predictions, golds, [''] * len(right))


def test_the_p_value_is_that_of_all_swaps():
    a, b = [1, 1, 1, 0, 1, 1, 1, 1], [0, 1, 0, 1, 0, 0, 1, 0]
    observed = abs(sum(a) - sum(b))
    swaps = itertools.product([0, 1], repeat=len(a))
    extreme = [
        abs(sum((y - x) if swap else (x - y) for x, y, swap in zip(a, b, swapped))) >= observed
        for swapped in swaps
    ]
    found = compare(counts(a), counts(b))
    assert found.p_value == pytest.approx(np.mean(extreme))
    assert found.score_a == pytest.approx(7 / 8)
    assert found.difference == pytest.approx(4 / 8)


def test_a_better_system_is_significant_and_a_like_one_is_not():
    random = np.random.default_rng(0)
    hits = random.random((3, 400)) < np.array([[0.8], [0.6], [0.6]])
    good, poor, alike = (counts(row.astype(int).tolist()) for row in hits)
    better = compare(good, poor, resamples=999)
    assert better.p_value < 0.01
    assert better.interval[0] > 0
    assert better.interval[0] < better.difference < better.interval[1]
    same = compare(poor, alike, resamples=999)
    assert same.p_value > 0.05
    assert same.interval[0] < 0 < same.interval[1]
    back = compare(poor, good, resamples=999)
    assert back.difference == pytest.approx(-better.difference)


def test_seeds_enter_by_their_mean_whatever_their_number():
    a, b = counts([1, 0, 1, 1, 0, 1] * 20), counts([0, 0, 1, 1, 0, 0] * 20)
    once = compare(a, b, resamples=499)
    many = compare(np.stack([a, a, a]), np.stack([b, b]), resamples=499)
    assert many == once


def test_a_system_does_not_differ_from_itself():
    found = compare(counts([1, 0, 1]), counts([1, 0, 1]))
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_other_sentences_are_refused():
    with pytest.raises(UserError, match='same sentences on both sides; got 3 and 2'):
        compare(counts([1, 0, 1]), counts([1, 0]))


def test_the_interval_of_a_mean_is_that_of_one_seed_where_seeds_agree():
    random = np.random.default_rng(1)
    one, other = (counts((random.random(300) < 0.6).astype(int).tolist()) for _ in range(2))
    alone = bootstrap.intervals(one, 2000, 0)[2]
    assert bootstrap.mean_interval(np.stack([one, one]), 2000, 0) == pytest.approx(alone)
    low, high = bootstrap.mean_interval(np.stack([one, other]), 2000, 0)
    mean = np.mean([f1.summarise(one).f1, f1.summarise(other).f1])
    assert low < mean < high
    assert high - low < alone[1] - alone[0]  # two seeds that err independently


def test_a_subset_of_one_sentence_tells_nothing():
    found = compare(counts([1]), counts([0]))
    assert (found.difference, found.interval, found.p_value) == (1.0, (1.0, 1.0), 1.0)


def test_mean_counts_below_one_are_shares_like_any():
    """One seed of ten predicts one pair, and it is right: precision 1, recall 1 of 20."""
    predictions = [['food | positive', '']] + [['', '']] * 9
    golds = ['food | positive'] * 2
    seeds = np.stack([f1.count('acsa', p, golds, ['', '']) for p in predictions])
    none = f1.count('acsa', ['', ''], golds, ['', ''])
    found = compare(seeds, none, resamples=99)
    assert found.score_a == pytest.approx(2 * 1 * 0.05 / (1 + 0.05))

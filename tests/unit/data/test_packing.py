"""The packer: every pair once, no row too full, rows full; and how full on the real corpus."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsa_jax.configs import RowsConfig
from fsa_jax.data import packing
from fsa_jax.data.vocabulary import Vocabulary


def row_sums(lengths, order, starts) -> np.ndarray:
    return np.array([lengths[order[a:b]].sum(axis=0) for a, b in itertools.pairwise(starts)])


def fill(lengths, order, starts, capacity) -> float:
    return lengths.sum() / ((len(starts) - 1) * sum(capacity))


def teacher_like_lengths(n: int, seed: int = 0) -> np.ndarray:
    """Lengths spread like those of the real corpus: inputs to 128, targets to 400, some cut there."""
    rng = np.random.default_rng(seed)
    sizes = np.stack([rng.lognormal(4.2, 0.6, n), rng.lognormal(5.4, 0.5, n)], axis=1)
    return np.clip(sizes, 2, [128, 400]).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 14)), max_size=60))
def test_every_pair_is_in_one_row_that_holds_it(pairs):
    lengths = np.array(pairs, np.int32).reshape(-1, 2)
    order, starts = packing.pack(lengths, (9, 14))
    assert sorted(order.tolist()) == list(range(len(pairs)))
    if len(pairs):
        assert (row_sums(lengths, order, starts) <= [9, 14]).all()
        assert (np.diff(starts) > 0).all()


def test_a_case_by_hand():
    """Rows of 10 + 10: the longest pair takes the one that fills its row; the rest share a row."""
    lengths = np.array([[4, 4], [7, 6], [3, 4], [5, 5]], np.int32)
    order, starts = packing.pack(lengths, (10, 10))
    rows = [sorted(order[a:b].tolist()) for a, b in itertools.pairwise(starts)]
    assert rows == [[1, 2], [0, 3]]


def test_shuffling_the_pairs_changes_who_shares_a_row_not_how_many_rows():
    lengths = teacher_like_lengths(3000) // 16 + 1
    shuffled = np.random.default_rng(1).permutation(len(lengths))
    order, starts = packing.pack(lengths, (24, 72))
    other, other_starts = packing.pack(lengths[shuffled], (24, 72))
    np.testing.assert_array_equal(starts, other_starts)
    np.testing.assert_array_equal(lengths[order], lengths[shuffled][other])
    together = {frozenset(order[a:b].tolist()) for a, b in itertools.pairwise(starts)}
    again = {frozenset(shuffled[other[a:b]].tolist()) for a, b in itertools.pairwise(starts)}
    assert len(together & again) < 0.2 * len(together)


def test_fuller_than_first_fit_decreasing():
    lengths, capacity = teacher_like_lengths(1500), (384, 1152)
    room = np.zeros((0, 2), np.int64)
    for pair in lengths[np.argsort(-(lengths / capacity).max(axis=1), kind='stable')]:
        fits = np.flatnonzero((room >= pair).all(axis=1))
        if not len(fits):
            room, fits = np.concatenate([room, [capacity]]), [len(room)]
        room[fits[0]] -= pair
    starts = packing.pack(lengths, capacity)[1]
    assert len(starts) - 1 < len(room)


def test_too_many_kinds_are_rounded_up_and_still_fit(monkeypatch):
    monkeypatch.setattr(packing, '_MOST_KINDS', 50)
    lengths = teacher_like_lengths(2000)
    order, starts = packing.pack(lengths, (384, 1152))
    assert sorted(order.tolist()) == list(range(2000))
    assert (row_sums(lengths, order, starts) <= [384, 1152]).all()
    assert fill(lengths, order, starts, (384, 1152)) > 0.75


@pytest.mark.data
def test_the_real_corpus_fills_92_percent_of_all_slots(shared):
    vocabulary = Vocabulary(shared / 'data/t5/spiece.model')
    lines = (shared / 'data/corpus/mixtral_250.json').read_text(encoding='utf-8-sig').splitlines()
    answers = [json.loads(line) for line in lines if line.strip()]
    texts = [(a['Text'], a['mixtral_response']) for a in answers]
    lengths = np.array([[len(vocabulary.encode(side)) + 1 for side in pair] for pair in texts])
    lengths = np.minimum(lengths, [128, 400])
    config = RowsConfig()
    capacity = config.encoder_length, config.decoder_length
    assert len(lengths) == 250
    assert fill(lengths, *packing.pack(lengths, capacity), capacity) >= 0.92

"""Near duplicates: pairs above the threshold are found, pairs below it never."""

import random

import pytest

from fsa_jax.corpus.near_duplicates import NearDuplicates, jaccard, near_copies, shingles

RANDOM = random.Random(0)
WORDS = [f'w{i}' for i in range(500)]


def _edited(words, edits):
    words = list(words)
    for _ in range(edits):
        words[RANDOM.randrange(len(words))] = RANDOM.choice(WORDS)
    return words


@pytest.mark.parametrize('threshold', [0.5, 0.8, 0.95])
def test_the_index_agrees_with_all_pairs(threshold):
    missed = similar = 0
    for _ in range(300):
        one = RANDOM.choices(WORDS, k=RANDOM.randint(20, 160))
        other = _edited(one, RANDOM.randint(0, 6))
        kept = {}
        index = NearDuplicates(threshold, kept.__getitem__)
        kept[7] = one
        assert index.add(7, one) is None
        found = index.add(8, other)
        near = jaccard(shingles(one), shingles(other)) >= threshold
        assert near or found is None, 'similarity is exact, not estimated'
        similar, missed = similar + near, missed + (near and found is None)
    assert similar > 50
    assert missed <= 0.02 * similar


def test_a_dropped_review_is_not_kept():
    kept = {1: WORDS[:50]}
    index = NearDuplicates(0.8, kept.__getitem__)
    assert index.add(1, kept[1]) is None
    assert index.add(2, [*WORDS[:49], 'x']) == 1
    assert index.add(3, [*WORDS[:49], 'x', 'y']) == 1, 'by the first one, not by the dropped one'


def test_texts_shorter_than_a_shingle():
    kept = {1: ['a'], 2: ['b']}
    index = NearDuplicates(0.8, kept.__getitem__)
    assert [index.add(1, ['a']), index.add(2, ['b']), index.add(3, ['a'])] == [None, None, 1]


@pytest.mark.parametrize('threshold', [0.5, 0.8, 1.0])
def test_near_copies_are_those_of_all_pairs(threshold):
    firsts = [RANDOM.choices(WORDS, k=RANDOM.randint(1, 60)) for _ in range(40)]
    texts = [_edited(RANDOM.choice(firsts), RANDOM.randint(0, 5)) for _ in range(200)] + [[]]
    kept = []
    for own in map(shingles, texts[:-1]):
        if all(jaccard(own, other) < threshold for other in kept):
            kept.append(own)
    assert 10 < near_copies(texts, threshold) == len(texts) - 1 - len(kept)

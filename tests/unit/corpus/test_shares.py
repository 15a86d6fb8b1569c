"""Shares of ratings and kinds: exact, and errors that say how many there were."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fsa_jax.configs import ReviewsConfig
from fsa_jax.corpus.shares import round_stars, split, targets
from fsa_jax.errors import UserError

NATURAL = {(1, None): 1200, (2, None): 1000, (3, None): 1400, (4, None): 2800, (5, None): 3600}
BOTH = {(stars, implicit): 400 for stars in range(1, 6) for implicit in (True, False)}


@given(
    st.integers(0, 5000),
    st.dictionaries(st.tuples(st.integers(1, 5), st.none()), st.floats(0.01, 9), min_size=1),
)
def test_parts_are_whole_sum_up_and_are_within_one(total, weights):
    parts = split(total, weights)
    assert sum(parts.values()) == total
    for cell, part in parts.items():
        assert abs(part - total * weights[cell] / sum(weights.values())) < 1


def test_the_largest_remainder_gets_what_is_left():
    assert split(1, {(1, None): 1.0, (2, None): 2.0}) == {(1, None): 0, (2, None): 1}


def test_weights_multiply_the_natural_shares():
    assert targets(NATURAL, ReviewsConfig(size=1800)) == {
        (1, None): 120, (2, None): 200, (3, None): 560, (4, None): 560, (5, None): 360,
    }  # fmt: skip


def test_uniform_and_quotas():
    uniform = targets(NATURAL, ReviewsConfig(size=502, balance='uniform'))
    assert list(uniform.values()) == [101, 101, 100, 100, 100]
    quotas = targets(NATURAL, ReviewsConfig(balance='quotas', quotas=(5, 0, 7, 0, 1)))
    assert quotas == {(1, None): 5, (2, None): 0, (3, None): 7, (4, None): 0, (5, None): 1}


@given(st.integers(1, 700), st.floats(0, 1), st.sampled_from(['weights', 'uniform']))
def test_the_implicit_share_is_exact(size, share, balance):
    config = ReviewsConfig(size=size, implicit_share=share, balance=balance)
    wanted = targets(BOTH, config)
    assert sum(wanted.values()) == size
    assert sum(n for (_, implicit), n in wanted.items() if implicit) == round(size * share)
    if balance == 'uniform':
        totals = [wanted[s, True] + wanted[s, False] for s in range(1, 6)]
        assert max(totals) - min(totals) <= 1


def test_no_size_is_the_largest_one():
    wanted = targets(NATURAL, ReviewsConfig(size=0))
    assert wanted[3, None] == NATURAL[3, None]
    with pytest.raises(UserError, match=f'ReviewsConfig.size={sum(wanted.values())} is the most'):
        targets(NATURAL, ReviewsConfig(size=sum(wanted.values()) + 4))


def test_no_size_takes_whole_rounds_of_uniform_ratings_and_refuses_what_is_empty():
    uniform = ReviewsConfig(size=0, balance='uniform')
    assert list(targets(NATURAL, uniform).values()) == [1000] * 5
    with pytest.raises(UserError, match='of 2 stars are asked for and 0 passed'):
        targets({**NATURAL, (2, None): 0}, uniform)
    with pytest.raises(
        UserError, match=r'implicit reviews.* asked for and 0 passed.*no sample has'
    ):
        targets({(3, False): 9}, ReviewsConfig(size=0, implicit_share=1.0))


def test_a_quota_that_cannot_be_filled_says_how_many_there_are():
    with pytest.raises(UserError, match=r'1,300 reviews of 1 star .* 1,200 passed all filters'):
        targets(NATURAL, ReviewsConfig(balance='quotas', quotas=(1300, 0, 0, 0, 0)))
    explicit = {(stars, False): n for (stars, _), n in NATURAL.items()}
    with pytest.raises(UserError, match='implicit reviews are asked for and 0 passed'):
        targets(explicit, ReviewsConfig(size=100, implicit_share=0.5))
    with pytest.raises(UserError, match='20 reviews of 1 star are asked for and 0 passed'):
        targets({(0, None): 500}, ReviewsConfig(size=100, balance='uniform'))


def test_reviews_without_ratings_are_drawn_as_they_come():
    assert targets({(0, None): 500}, ReviewsConfig(size=100)) == {(0, None): 100}


def test_halves_go_up():
    assert [round_stars(r) for r in (1.0, 2.5, 4.4, None)] == [1, 3, 4, 0]


@pytest.mark.parametrize(
    ('knobs', 'said'),
    [
        ({'rating_weights': (1, 2)}, 'five numbers'),
        ({'rating_weights': (0, 0, 0, 0, 0)}, 'not all 0'),
        ({'balance': 'quotas'}, 'quotas must be five'),
        ({'quotas': (1, 1, 1, 1, 1)}, "balance='quotas'"),
        ({'implicit_from': 'x'}, 'needs ReviewsConfig.implicit_share'),
        ({'min_characters': 9, 'max_characters': 8}, 'above'),
    ],
)
def test_knobs_that_contradict_each_other(knobs, said):
    with pytest.raises(UserError, match=said):
        ReviewsConfig(**knobs)

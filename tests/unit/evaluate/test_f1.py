"""The scorer: hand-worked numbers, properties, and the published scorer's own results."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsa_jax.errors import UserError
from fsa_jax.evaluate import f1
from fsa_jax.records import POLARITIES
from fsa_jax.text_format import join


def published(task, prediction, gold, sentence='the pasta and the wine'):
    got = f1.score(task, [prediction], [gold], [sentence])
    return got.precision, got.recall, got.f1


def strict(task, prediction, gold, sentence='the pasta and the wine'):
    got = f1.score(task, [prediction], [gold], [sentence])
    return got.strict_precision, got.strict_recall, got.strict_f1


@pytest.mark.parametrize(
    ('prediction', 'gold', 'expected', 'expected_strict'),
    [
        # nothing predicted: precision 1 by definition
        ('', 'pasta | positive', (1, 0, 0), (1, 0, 0)),
        # nothing to find
        ('pasta | positive', '', (0, 1, 0), (0, 1, 0)),
        ('', '', (1, 1, 1), (1, 1, 1)),
        # repeats are all right; one to one, two of them are wrong
        ('pasta | positive ; pasta | positive ; pasta | positive', 'pasta | positive',
         (1, 1, 1), (1 / 3, 1, 1 / 2)),
        # gold repeats are found by one prediction; one to one, one of two is missed
        ('pasta | positive', 'pasta | positive ; pasta | positive', (1, 1, 1), (1, 1 / 2, 2 / 3)),
        # dropped in silence; strict: a wrong prediction
        ('a | b | c ; pasta | positive', 'pasta | positive', (1, 1, 1), (1 / 2, 1, 2 / 3)),
        ('Pasta | positive', 'pasta | positive', (1, 0, 0), (0, 0, 0)),
        ('pasta|positive', 'pasta | positive', (1, 1, 1), (1, 1, 1)),
        # wrong polarity: both precision and recall pay
        ('pasta | negative ; wine | neutral', 'pasta | positive ; wine | neutral',
         (1 / 2, 1 / 2, 1 / 2), (1 / 2, 1 / 2, 1 / 2)),
        # a trailing separator claims nothing
        ('pasta | positive ;', 'pasta | positive', (1, 1, 1), (1, 1, 1)),
    ],
)  # fmt: skip
def test_one_sentence_by_hand(prediction, gold, expected, expected_strict):
    assert published('atsa', prediction, gold) == pytest.approx(expected)
    assert strict('atsa', prediction, gold) == pytest.approx(expected_strict)


def test_the_gold_string_goes_through_the_same_parser():
    got = f1.score(
        'atsa', ['pasta | positive'], ['pasta | positive ; Wine | positive'], ['pasta, wine']
    )
    assert (got.gold, got.recall) == (1, 1.0)


def test_sums_are_micro_and_items_carry_their_sentence():
    """3 predicted, 2 right; 4 gold, 2 found: P 2/3, R 1/2, F1 4/7. The pair of row 0 is not row 1's."""
    predictions = ['food | positive', 'food | positive ; service | neutral', '']
    golds = ['food | positive ; place | neutral', 'service | neutral', 'food | positive']
    got = f1.score('acsa', predictions, golds, [''] * 3)
    assert (got.precision, got.recall, got.f1) == pytest.approx((2 / 3, 1 / 2, 4 / 7))
    assert (got.sentences, got.predicted, got.gold, got.dropped) == (3, 3, 4, 0)


def test_polarities_of_your_own():
    assert f1.score('acsa:good,bad', ['food | bad'], ['food | good'], ['']).f1 == 0
    assert f1.score('acsa:good,bad', ['food | good'], ['food | good'], ['']).gold == 1


def test_no_sentences_at_all():
    assert f1.score('acsa', [], [], []).f1 == 1


def test_errors():
    with pytest.raises(UserError, match=r"'acsa' or 'atsa'.*did you mean 'acsa'"):
        f1.score('acs', [''], [''], [''])
    with pytest.raises(UserError, match='1 predictions, 2 golds, 1 sentences'):
        f1.score('acsa', [''], ['', ''], [''])


term = st.sampled_from(['pasta', 'wine', 'the', ''])
pairs = st.lists(st.tuples(term, st.sampled_from(POLARITIES)), max_size=4)
text = st.one_of(pairs.map(join), st.text(st.sampled_from('pasta| ;positive'), max_size=30))


@given(st.lists(pairs.map(join), min_size=1, max_size=5))
def test_a_perfect_prediction_gives_one(golds):
    got = f1.score('atsa', golds, golds, ['the pasta and the wine'] * len(golds))
    assert got.f1 == got.strict_f1 == 1


@given(st.lists(st.tuples(text, text), min_size=1, max_size=6))
def test_against_the_definition_written_with_global_items(rows):
    """The published scorer keeps one list of (position, pair) items over all sentences."""
    predictions, golds = map(list, zip(*rows))

    def items(strings):
        kept = []
        for position, string in enumerate(strings):
            for part in string.split(';'):
                if part.count('|') == 1:
                    name, polarity = map(str.strip, part.split('|'))
                    if polarity in POLARITIES:
                        kept.append((position, name, polarity))
        return kept

    predicted, gold = items(predictions), items(golds)
    p = sum(i in gold for i in predicted) / len(predicted) if predicted else 1
    r = sum(i in predicted for i in gold) / len(gold) if gold else 1
    got = f1.score('acsa', predictions, golds, [''] * len(rows))
    assert (got.precision, got.recall) == pytest.approx((p, r))
    assert got.f1 == pytest.approx(2 * p * r / (p + r) if p + r else 0)
    assert got.strict_f1 <= got.f1 + 1e-12


def test_counts_add_up():
    predictions, golds = ['a | positive', 'b | neutral ; x'], ['a | positive', 'b | negative']
    rows = f1.count('acsa', predictions, golds, ['', ''])
    assert rows.shape == (2, len(f1.COUNTS))
    assert f1.summarise(rows) == f1.score('acsa', predictions, golds, ['', ''])
    np.testing.assert_allclose(f1.ratios(rows)[2], [1, 0])


@pytest.mark.data
def test_agrees_with_the_published_scorer(shared):
    cases = json.loads((shared / 'oracle/f1_cases.json').read_text())
    assert len(cases) == 6
    for case in cases:
        got = f1.score(case['task'], case['predictions'], case['golds'], case['sentences'])
        for name in ('precision', 'recall', 'f1'):
            assert abs(getattr(got, name) - case[name]) <= 1e-9, (case['dataset'], case['subset'])

"""From generated ids to opinions: places, probabilities, merging; parts of a text; calibration."""

import itertools
import math
import random

import numpy as np
import pytest

from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.student import Found, calibration
from fsa_jax.student.extraction import Places, merged
from fsa_jax.student.reading import Answer, read
from fsa_jax.student.windows import windows

LETTERS = len  # one id a character


def answer(text: str, log_prob: float = -0.1) -> Answer:
    return Answer(list(text), [log_prob] * len(text))


def test_the_first_unused_of_several_places_is_taken():
    part = 'wine, wine and winery'
    found, malformed = read('atsa', 'atsa', answer('wine | positive ; wine | negative'), part, 10)
    assert [o.spans for o in found] == [((10, 14),), ((16, 20),)]
    assert [o.polarity for o in found] == ['positive', 'negative']
    assert not malformed


def test_confidence_is_the_product_over_the_pair():
    """Whether another pair follows is no matter of this one."""
    pieces = ['food', ' |', ' positive', ' ', ';', ' bar', ' |', ' neutral']
    probabilities = [0.9, 0.8, 0.7, 0.5, 0.4, 0.6, 0.5, 0.9]
    told = Answer(pieces, [math.log(p) for p in probabilities])
    found, _ = read('atsa', 'atsa', told, 'food bar', 0)
    expected = [0.9 * 0.8 * 0.7, 0.6 * 0.5 * 0.9]
    assert [o.confidence for o in found] == pytest.approx(expected)


def test_what_is_no_opinion_is_flagged():
    found, malformed = read('atsa', 'atsa', answer('pizza | positive ; food | good'), 'the food', 0)
    assert (found, malformed) == ([], True)
    assert read('atsa', 'atsa', answer('| positive'), 'the food', 0) == ([], True)


def test_an_analysis_gives_levels_reasons_and_places():
    part = 'The Pasta was great but we waited an hour.'
    text = (
        'Opinion Target 1: "pasta"[NL] Aspect: Taste[NL] Sentiment: Very Positive[NL] '
        'Reasoning: it was great.[NL][NL] Opinion Target 2: "service"[NL] Aspect: Speed[NL] '
        'Sentiment: Negative[NL] Reasoning: implied by the wait.'
    )
    pasta, service = read('analysis', 'analysis', answer(text), part, 100)[0]
    assert (pasta.term, pasta.level, pasta.polarity) == ('Pasta', 'Very Positive', 'positive')
    assert (pasta.category, pasta.spans) == ('Taste', ((104, 109),))
    assert pasta.reasoning == 'it was great.'
    assert (service.term, service.spans, service.polarity) == ('service', (), 'negative')
    assert pasta.confidence == pytest.approx(math.exp(-0.1 * len('pastaVery Positive')))
    (only,) = read('zero_shot', 'zero_shot', answer(text), part, 100)[0]
    assert only.term == 'Pasta'


def test_the_confidence_of_an_opinion_is_not_that_of_a_word_in_another_ones_reasoning():
    pieces = [
        ('Opinion Target 1: "', 1.0), ('pasta', 0.9), ('"[NL] Sentiment: ', 1.0), ('Positive', 0.8),
        ('[NL] Reasoning: the service was Negative.', 0.01), ('[NL][NL] Opinion Target 2: "', 1.0),
        ('service', 0.7), ('"[NL] Aspect: Speed[NL] Sentiment: ', 1.0), ('Negative', 0.6),
        ('[NL] Aspect: Manners[NL] Sentiment: ', 1.0), ('Positive', 0.5),
        ('[NL] Reasoning: it was fine.', 0.01),
    ]  # fmt: skip
    told = Answer([text for text, _ in pieces], [math.log(p) for _, p in pieces])
    found, _ = read('analysis', 'analysis', told, 'the pasta, the service', 0)
    assert [o.term for o in found] == ['pasta', 'service', 'service']
    assert [o.confidence for o in found] == pytest.approx([0.9 * 0.8, 0.7 * 0.6, 0.5])


def test_duplicates_merge_with_all_their_places():
    a = Found('positive', 0.4, spans=((0, 4),), term='food')
    b = Found('negative', 0.9, spans=((0, 4),), term='food')
    c = Found('positive', 0.6, spans=((30, 34),), term='food')
    one, two = merged([a, b, c])
    assert (one.spans, one.confidence) == (((0, 4), (30, 34)), 0.6)
    assert two == b


def test_places_fall_back_to_parts_of_words_and_other_case():
    assert Places('servers here').next('server') == ('server', (0, 6))
    assert Places('The Server').next('server') == ('Server', (4, 10))
    assert Places('nothing').next('server') is None


@pytest.mark.parametrize('join', [False, True])
def test_all_of_a_text_lies_in_exactly_one_window(join):
    rng = random.Random(0)
    words = [
        'good.',
        'bad!',
        'the',
        'x' * 50,
        'caf\u00e9',
        '\n\n',
        '  ',
        'Dr.',
        '3.5',
        '\U0001f600',
        '\ud83d',
        '...',
    ]
    for _ in range(200):
        text = ' '.join(rng.choices(words, k=rng.randrange(0, 30)))
        parts = windows(text, LETTERS, 20, language='en', join=join)
        assert all(part.end - part.start <= 20 for part in parts)
        assert all(a.end <= b.start for a, b in itertools.pairwise(parts))
        inside = ''.join(text[part.start : part.end] for part in parts)
        assert ''.join(inside.split()) == ''.join(text.split())


def test_a_short_review_is_one_window_and_a_long_one_is_cut_at_sentences():
    text = 'It was good. The bar was closed. We left.'
    assert len(windows(text, LETTERS, 100, language='en', join=True)) == 1
    parts = windows(text, LETTERS, 35, language='en', join=True)
    assert [text[p.start : p.end] for p in parts] == [
        'It was good. The bar was closed.',
        'We left.',
    ]
    assert not any(p.split for p in parts)


def test_pieces_join_to_the_decoded_text(tiny_spiece):
    vocabulary = Vocabulary(tiny_spiece)
    ids = [*vocabulary.encode('the food was\ngreat | positive ;'), 0, 1, vocabulary.size + 5]
    assert ''.join(vocabulary.decode_pieces(ids)) == vocabulary.decode(ids)
    assert len(vocabulary.decode_pieces(ids)) == len(ids)


def test_calibration_finds_the_scale_that_made_the_data():
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.01, 0.99, 20000)
    true = 1 / (1 + np.exp(-(0.5 * np.log(raw / (1 - raw)) - 1.0)))
    platt = calibration.fit(raw, rng.uniform(size=raw.size) < true, range(raw.size))
    assert platt.slope == pytest.approx(0.5, abs=0.05)
    assert platt.offset == pytest.approx(-1.0, abs=0.05)
    assert platt.brier_after < platt.brier_before
    assert [platt(p) for p in raw[:50]] == pytest.approx(true[:50], abs=0.03)


def test_a_scale_is_judged_on_what_it_was_not_fitted_on():
    """Where confidence tells nothing, what is gained on the fitted opinions is lost on the others; and
    opinions of one sentence never judge each other."""
    rng = np.random.default_rng(1)
    raw = rng.uniform(0.01, 0.99, 40)
    right = rng.uniform(size=20).repeat(2) < 0.5
    sentences = np.arange(20).repeat(2)
    platt = calibration.fit(raw, right, sentences)
    same = np.mean((np.array([platt(p) for p in raw]) - right) ** 2)
    assert platt.brier_after > same
    assert platt.brier_after > 0.25 > same  # a coin's
    halves = np.isin(sentences, np.random.default_rng(0).permutation(20)[::2])
    expected = np.empty(40)
    for judged in (halves, ~halves):
        other = calibration.fit(raw[~judged], right[~judged], sentences[~judged])
        expected[judged] = [other(p) for p in raw[judged]]
    assert platt.brier_after == pytest.approx(np.mean((expected - right) ** 2))


@pytest.mark.parametrize(
    ('right', 'sentences'),
    [
        ([True] * 30, range(30)),
        ([False] * 30, range(30)),
        ([True, False] * 4, range(8)),
        ([True, False] * 15, [0] * 30),
    ],
)
def test_too_little_to_calibrate_on_is_refused(right, sentences):
    with pytest.raises(UserError, match='too few'):
        calibration.fit([0.5] * len(right), right, sentences)


def test_a_calibration_is_read_back(tmp_path):
    assert calibration.read(tmp_path) == {}
    made = {'atsa': calibration.Platt(0.5, 0.1, 30, 20, 0.2, 0.1)}
    (tmp_path / calibration.FILE).write_text(calibration.to_json(made))
    assert calibration.read(tmp_path) == made
    (tmp_path / calibration.FILE).write_text('{"atsa": 3}')
    with pytest.raises(UserError, match='is not a calibration'):
        calibration.read(tmp_path)

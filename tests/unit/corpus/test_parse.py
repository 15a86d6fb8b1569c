"""parse_analysis: a golden case for every oddity of real answers, any string, and the real answers."""

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fsa_jax.corpus import analysis
from fsa_jax.corpus.parse import FORMS, REASONS, parse_analysis
from fsa_jax.data.corpus_files import read_generations
from fsa_jax.records import SENTIMENT_LEVELS, Opinion

REVIEW = (
    'the kettle boils fast and the handle stays cool. the lid sticks a bit, and the cord is short. '
    'for twelve dollars i am happy.'
)
KETTLE = 'Opinion Target 1: "kettle"\nAspect: "Speed"\nSentiment: Very Positive\nReasoning: It "boils fast".'
LID = (
    'Opinion Target 2: "lid"\nAspect: Fit\nSentiment: Negative\nReasoning: The lid "sticks a bit".'
)
BOTH = f'{KETTLE}\n\n{LID}'


def pairs(text, **kwargs):
    return [
        (o.target, o.aspect, o.sentiment) for o in parse_analysis(text, REVIEW, **kwargs).opinions
    ]


TWO = [('kettle', 'Speed', 'Very Positive'), ('lid', 'Fit', 'Negative')]


def test_a_normal_answer():
    parsed = parse_analysis(BOTH, REVIEW)
    assert parsed.opinions[0] == Opinion(
        'kettle', 'Speed', 'Very Positive', 'Very Positive', 'It "boils fast".', 'verbatim'
    )
    assert [(o.target, o.aspect, o.sentiment) for o in parsed.opinions] == TWO
    assert (parsed.reasons, parsed.forms, parsed.truncated) == ((), (), False)


@pytest.mark.parametrize('reasoning', [True, False])
def test_what_render_writes_is_read_back(reasoning):
    opinions = parse_analysis(BOTH, REVIEW).opinions
    parsed = parse_analysis(analysis.render(opinions, reasoning), REVIEW)
    assert [o.target for o in parsed.opinions] == ['kettle', 'lid']
    assert (parsed.reasons, parsed.truncated) == ((), False)
    assert parse_analysis(analysis.to_json(opinions), REVIEW).opinions == opinions
    none = parse_analysis(analysis.NO_OPINIONS, REVIEW)
    assert (none.opinions, none.reasons, none.forms) == ((), (), ('none',))


@pytest.mark.parametrize(
    'text',
    [
        BOTH.replace('\n', '\r\n'),
        BOTH.replace('\n', '\n\n'),
        BOTH.replace('Opinion Target', 'opinion target'),
        BOTH.replace('Reasoning', 'Reasoin').replace('Aspect', 'Apsect'),
        BOTH.replace('Aspect:', 'Aspect 1:').replace('Sentiment:', 'Sentiment 1:'),
        BOTH.replace('Aspect:', '**Aspect:**').replace('Opinion Target 1:', '### Opinion Target 1:'),
        BOTH.replace('Opinion Target 1: "kettle"', '**Opinion Target 1: "kettle"**'),
        BOTH.replace('Aspect:', '- Aspect:').replace('Sentiment:', '* **Sentiment**:'),
        BOTH.replace('Opinion Target 1:', '1. Opinion Target:').replace('Opinion Target 2:', '2) Opinion Target:'),
        BOTH.replace('"kettle"', 'kettle').replace('"lid"', '“lid”'),
        BOTH.replace('"kettle"', '[kettle]').replace('"lid"', '"lid" (of the kettle)'),
        BOTH.replace('"lid"', '"lid", as in "the lid sticks"'),
        BOTH.replace('Target 2:', 'Target 2 (implicit):'),
        BOTH.replace('\nAspect', ' -- Aspect').replace('\nSentiment', ' -- Sentiment').replace('\nReasoning', ' - Reasoning'),
        BOTH.replace('\nAspect', ', Aspect').replace('\nSentiment', ', Sentiment').replace('\nReasoning', ', Reasoning'),
        BOTH.replace('\nAspect', ' Aspect').replace('\nSentiment', ' Sentiment').replace('\nReasoning', ' Reasoning'),
        BOTH.replace('Aspect: Fit', 'Aspect: Fit, which refers to how well the parts meet'),
        BOTH.replace('Reasoning: The lid', 'Reasoning:\nThe lid'),
        f'Here is the analysis of the review:\n\n{BOTH}',
        BOTH.replace('Opinion Target 1: "kettle"', 'Opinion Target 1 (kettle):'),
        '**' + BOTH.replace('\nAspect', ' | **Aspect').replace('\nSentiment', ' | **Sentiment').replace('\nReasoning', ' | **Reasoning').replace(':', ':**').replace('\n\n', '\n\n**'),
        BOTH.replace('Opinion Target 1', '1. Opinion Target').replace('Opinion Target 2', '2. Opinion Target').replace('\n', '\n   - ').replace('   - \n   - ', '\n'),
        f'{BOTH}\n\nReview: the sofa is soft.\n\nOpinion Target 1: "sofa"\nAspect: Comfort\nSentiment: Positive\nReasoning: It is "soft".',
        f"{BOTH}\n\nLet's analyze another one:\n\nOpinion Target 3: \"sofa\"\nAspect: Comfort\nSentiment: Positive",
        f'{BOTH}\n\nExample 2:\nThe sofa is soft.\nOpinion Target 1: "sofa"\nSentiment: Positive',
        f'{BOTH}\n\nOpinion Target 1: "kettle"\nAspect: Looks\nSentiment: Positive\nReasoning: It is shiny.',
        f'{BOTH}\n\nConfidence: 90%',
        f'{BOTH}\n\nNote: the price is left out.\nID: 12',
        f'{BOTH}\nConsent: given.',
        f'{BOTH}\n\nIn short, the writer likes the kettle and puts up with the lid',
        f'{BOTH}\n\nOutput:\n{{"Opinion Target": "lid", "Sentiment": "Negative"}}',
        f'{BOTH}\n\n| Target | Sentiment |\n|---|---|\n| lid | Negative |',
        f'{BOTH}\n\n```python\nprint("lid")\n```',
        f'{BOTH}\n\nSee https://example.org/kettles',
        f'{BOTH}\n\nOpinion Target 3: [Product Name]\nAspect: [Aspect]\nSentiment: [Sentiment]\nReasoning: [Reasoning]',
        f'{BOTH}\n\nOpinion Target 3: (your own analysis here)\nAspect: (your own analysis here)\nSentiment: (your own analysis here)',
        f'{BOTH}\n\nOpinion Target 3:',
        f'{BOTH}\n\nOpinion Target 3: "cord"\nAspect: Length',
        f'{BOTH}\n\nOpinion Target 3: "cord"\nAspect: Length\nSentiment: Neg',
        f'{BOTH}\n\nOpinion Target 3: "cord"\nAspect: Length\nSentiment: Negative\nReasoning: The cord is too',
        f'{BOTH}\n\nOpinion Target 3: "cord"\nAspect: Length\nSentiment',
        f'{BOTH}\n\n{LID}',
        f'{BOTH}\n\n---\n',
    ],
)  # fmt: skip
def test_the_same_two_opinions_however_dirty(text):
    assert pairs(text) == TWO


@pytest.mark.parametrize(
    ('tail', 'codes', 'truncated'),
    [
        ('\n\nReview: the sofa is soft.', ['continuation'], False),
        ('\n\nOpinion Target 1: "sofa"\nSentiment: Pos', ['continuation'], True),
        (
            '\n\nNext review:\n```\nx\n```\nhttps://example.org',
            ['continuation', 'echo', 'url'],
            False,
        ),
        ('\n\nNote: short.', ['meta'], False),
        ('\n\n{"a": 1}', ['echo'], False),
        ('\nwww.example.org', ['url'], True),
        ('\n\nOpinion Target 3: <target>\nSentiment: Positive.', ['placeholder'], False),
        ('\n\nOpinion Target 3: "cord"\nAspect: Length.', ['incomplete'], False),
        ('\n\nOpinion Target 3: "cord"\nAspect: Len', ['cut'], True),
        (f'\n\n{LID}', ['repeat'], False),
    ],
)
def test_what_is_cut_leaves_its_code(tail, codes, truncated):
    parsed = parse_analysis(BOTH + tail, REVIEW)
    assert list(parsed.reasons) == codes
    assert parsed.truncated is truncated or 'url' in codes
    assert len(parsed.opinions) == 2
    assert set(parsed.reasons) <= REASONS.keys()


def test_an_aspect_without_a_new_target_carries_the_target_over():
    more = 'Aspect: Handle\nSentiment: Positive\nReasoning: It "stays cool".'
    parsed = parse_analysis(f'{KETTLE}\n\n{more}\n\n{LID}', REVIEW)
    assert [(o.target, o.aspect) for o in parsed.opinions] == [
        ('kettle', 'Speed'), ('kettle', 'Handle'), ('lid', 'Fit'),
    ]  # fmt: skip
    assert parsed.forms == ('carried_target',)


def test_the_same_number_again_is_no_restart_without_a_break():
    again = KETTLE.replace('Speed', 'Price')
    assert len(pairs(f'{KETTLE}\n\n{again}')) == 2
    assert len(pairs(f'{KETTLE}\n\nHere it is once more.\n\n{again}')) == 1


def test_a_list_of_targets_before_the_blocks_is_no_first_answer():
    heads = 'Opinion Target 1: "kettle"\nOpinion Target 2: "lid"\n\n'
    assert pairs(heads + BOTH) == TWO


@pytest.mark.parametrize(
    ('raw', 'target'),
    [
        ('"cord" of the kettle', 'cord of the kettle'),
        ('"cord", "lid"', 'cord, lid'),
        ('the handle (not named)', 'the handle'),
        ('(how it pours)', 'how it pours'),
        ("the kettle's lid", "the kettle's lid"),
    ],
)
def test_targets_are_cleaned(raw, target):
    assert pairs(KETTLE.replace('"kettle"', raw))[0][0] == target


def test_sentiments_keep_their_words():
    parsed = parse_analysis(BOTH.replace('Negative', 'Not specified'), REVIEW).opinions[1]
    assert (parsed.sentiment, parsed.raw_sentiment) == (None, 'Not specified')
    mild = parse_analysis(BOTH.replace('Negative', 'Neutral'), REVIEW).opinions[1]
    assert (mild.sentiment, mild.raw_sentiment) == ('Mild Sentiment', 'Neutral')


def test_the_engines_finish_reason_decides():
    cut = BOTH[:-8]
    assert len(pairs(cut)) == 1
    assert len(pairs(cut, finish_reason='length')) == 1
    assert len(pairs(cut, finish_reason='stop')) == 2
    assert parse_analysis(BOTH, REVIEW, 'length').truncated
    no_stops = f'{KETTLE[:-1]}\n\n{LID[:-1]}'
    assert (
        len(pairs(no_stops.replace('"', ''))) == 2
    )  # nobody ends a sentence with a full stop here


def test_json_answers_whole_and_cut():
    entries = [
        {'OpinionTarget': 'kettle', 'Aspect': 'Speed', 'Sentiment': 'Very Positive'},
        {'opinion_target': 'lid', 'aspect': 'Fit', 'sentiment': 'Negative', 'reasoning': 'It sticks.'},
    ]  # fmt: skip
    for text in (json.dumps(entries), json.dumps({'analysis': {'opinions': entries}}, indent=1)):
        parsed = parse_analysis(text, REVIEW)
        assert [(o.target, o.aspect, o.sentiment) for o in parsed.opinions] == TWO
        assert (parsed.forms, parsed.truncated) == (('json',), False)
        cut = parse_analysis(f'```json\n{text[: text.rindex("reasoning") + 14]}', REVIEW)
        assert [o.target for o in cut.opinions] == ['kettle']
        assert (cut.reasons, cut.truncated) == (('cut',), True)
    for text in ('{"opinions": []}', '[]', '```json\n{"opinions": [ ]}\n```'):
        assert parse_analysis(text, REVIEW).forms == ('json', 'none')
    for text in ('{"opinions": [{"target": "ket', '{"opinions": [7]}', '{"answer": "none"}'):
        assert 'none' not in parse_analysis(text, REVIEW).forms


@pytest.mark.parametrize(
    ('rest', 'reasons'),
    [
        ('\n```', ()),
        ('\n\nReview: the bus was late.\n[{"target": "bus", "sentiment": "Negative"}]', ('continuation',)),
        ('\n\nNote: the kettle is new.', ('meta',)),
        ('\n{"target": "lid", "aspect": "Fit", "sentiment": "Negative"}', ()),
    ],
)  # fmt: skip
def test_what_follows_a_json_answer_is_told(rest, reasons):
    parsed = parse_analysis(f'[{{"target": "kettle", "sentiment": "Positive"}}]{rest}', REVIEW)
    assert [o.target for o in parsed.opinions] == ['kettle', *['lid'] * ('lid' in rest)]
    assert parsed.reasons == reasons


PIECES = st.sampled_from(
    [*BOTH.split('\n'), '\n', '\n\n', 'Aspect:', 'Review:', '---', '```', '{"', '[', '**', '\x85',
     '\ud800', 'Opinion Target 1', 'Sentiment 2: ', ' -- Reasoning: ', '| a |', '(', '"', '“']
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=5))).map(''.join)),
    st.text(max_size=50),
    st.sampled_from(['', 'stop', 'length', 'else']),
)
@example('[' * 100_000, '', '')
@example('Opinion Target 1: 0"<\nSentiment: 0', '', '')
@example('{"a":' * 100_000, '', '')
@example('{"a":' * 3000 + '1' + '}' * 3000, '', '')  # from Python 3.12 on json reads it
@example('Aspect: ' * 5_000, '', '')
@example('*' * 20_000 + 'Aspect', '', '')
@example('Reasoning:' + ' ' * 20_000 + '.', '', '')
@example('Opinion Target 1: ' + '("' * 5_000 + '\nSentiment: x', '', '')
def test_nothing_raises_and_nothing_is_made_up(text, review, finish_reason):
    parsed = parse_analysis(text, review, finish_reason)
    assert set(parsed.reasons) <= REASONS.keys()
    assert set(parsed.forms) <= FORMS.keys()
    unquoted = text.translate(dict.fromkeys(map(ord, '"“”')))  # quotes within a target go
    for opinion in parsed.opinions:
        assert opinion.target
        assert opinion.sentiment in (*SENTIMENT_LEVELS, None)
        assert opinion.target_support in ('verbatim', 'normalised', 'implicit', 'unsupported')
        for word in opinion.target.split():
            assert word in text or word in unquoted


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(BOTH)))
def test_a_prefix_holds_no_opinion_that_the_whole_does_not(length):
    whole = parse_analysis(BOTH, REVIEW, 'stop').opinions
    assert parse_analysis(BOTH[:length], REVIEW, 'length').opinions in ((), whole[:1], whole)


def interval(rate: float, count: int) -> tuple[float, float]:
    """Where a rate of `count` answers falls 999 times in 1,000, if `rate` is that of all."""
    spread = 3.3 * math.sqrt(rate * (1 - rate) / count)
    return rate - spread, rate + spread


@pytest.mark.data
def test_real_answers_within_the_rates_of_all(shared):
    answers = list(
        read_generations(shared / 'data/corpus', kind='analysis', validation_fraction=0.0)
    )
    parsed = [parse_analysis(a.output, a.input) for a in answers]
    opinions = [o for p in parsed for o in p.opinions]

    def within(rate, hits, count):
        low, high = interval(rate, count)
        assert low <= hits / count <= high, (rate, hits / count)

    count = len(parsed)
    strays = {'preamble', 'continuation', 'meta', 'echo', 'url'}
    within(0.205, sum(p.truncated for p in parsed), count)
    within(0.226, sum('carried_target' in p.forms for p in parsed), count)  # 53 of 234
    within(0.09, sum('continuation' in p.reasons for p in parsed), count)
    within(0.37, sum(bool(strays & set(p.reasons)) for p in parsed), count)
    within(0.98, sum(o.sentiment is not None for o in opinions), len(opinions))
    within(0.16, sum(o.target_support != 'verbatim' for o in opinions), len(opinions))
    assert 3.5 < len(opinions) / count < 4.5  # 4.46 with what is made up, cut or a placeholder
    assert sum(not p.opinions for p in parsed) <= 0.03 * count
    assert all(o.raw_sentiment and o.target for o in opinions)
    assert sum(bool(o.aspect) for o in opinions) > 0.98 * len(opinions)


@pytest.mark.data
def test_targets_of_real_answers_are_borne_by_their_own_reviews_and_not_by_others(shared):
    """1 in 20 targets shares no word with its review, and most of these are implied, not made up."""
    answers = list(
        read_generations(shared / 'data/corpus', kind='analysis', validation_fraction=0.0)
    )
    others = answers[7:] + answers[:7]

    def unsupported(reviews):
        found = [
            opinion.target_support
            for answer, review in zip(answers, reviews)
            for opinion in parse_analysis(answer.output, review.input).opinions
        ]
        return found.count('unsupported') / len(found)

    assert 0 < unsupported(answers) < 0.05
    assert unsupported(others) > 0.6

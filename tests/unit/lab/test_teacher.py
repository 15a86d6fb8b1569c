"""The scripted teacher: sound answers without errors, errors at their rates, and the truth kept."""

import collections
import json
import re
from random import Random

import pytest

from fsa_jax.configs import LabConfig
from fsa_jax.lab.files import write_world
from fsa_jax.lab.grammar import items
from fsa_jax.lab.teacher import Teacher
from fsa_jax.lab.world import DOMAINS, World
from fsa_jax.records import SENTIMENT_LEVELS, Generation, read_jsonl

SOUND = {
    'error_wrong_sentiment': 0.0,
    'error_missed_target': 0.0,
    'error_made_up_target': 0.0,
    'error_malformed': 0.0,
}
BLOCK = re.compile(
    r'Opinion Target (\d+): "([^"\n]+)"\nAspect: ([^\n]+)\nSentiment: ([^\n]+)\nReasoning: ([^\n]+)'
)


def _answers(kind: str, count: int = 1500, **errors):
    config = LabConfig(**(SOUND | errors))
    teacher = Teacher(config, DOMAINS['restaurant'], Random(5))
    return [
        (review, *teacher.answer(kind, review))
        for review in World(config).reviews('restaurant', count)
    ]


def test_a_sound_analysis_tells_every_opinion():
    subjects = {s.category: s for s in DOMAINS['restaurant'].subjects}
    for review, answer, mistakes in _answers('analysis'):
        assert not mistakes
        blocks = [BLOCK.fullmatch(block) for block in answer.split('\n\n')]
        assert len(blocks) == len(review.opinions)
        for number, (block, opinion) in enumerate(zip(blocks, review.opinions), 1):
            index, target, aspect, sentiment, reasoning = block.groups()
            subject = subjects[opinion.category]
            assert index == str(number)
            assert target == (opinion.target or subject.implied)
            assert aspect in items(subject.names)
            assert sentiment == SENTIMENT_LEVELS[opinion.level + 2]
            for quoted in re.findall('"(.*?)"', reasoning):
                assert all(word in review.text for word in quoted.split(' but '))


def test_a_sound_rewriting_is_in_the_first_person():
    for review, answer, mistakes in _answers('rewriting'):
        assert not mistakes
        assert len(re.findall(r'(?:^|\. )i ', answer)) >= len(review.opinions)
        for opinion in review.opinions:
            assert opinion.target is None or f'the {opinion.target}' in answer


@pytest.mark.parametrize('kind', ['analysis', 'rewriting'])
@pytest.mark.parametrize(
    'error', ['wrong_sentiment', 'missed_target', 'made_up_target', 'malformed']
)
def test_errors_come_at_their_rate_and_are_recorded(kind, error):
    rate = 0.2
    answers = _answers(kind, **{f'error_{error}': rate})
    kinds = collections.Counter(m.kind for *_, mistakes in answers for m in mistakes)
    chances = sum(
        len(review.opinions) if error in ('wrong_sentiment', 'missed_target') else 1
        for review, *_ in answers
    )
    assert set(kinds) == {error}
    assert rate * 0.7 < kinds[error] / chances < rate * 1.2
    for review, answer, mistakes in answers:
        if error == 'missed_target' and kind == 'analysis':
            assert len(BLOCK.findall(answer)) == len(review.opinions) - len(mistakes)
        for mistake in mistakes:
            if error == 'made_up_target':
                assert mistake.detail in answer
                assert mistake.detail not in review.text
            if error == 'wrong_sentiment' and kind == 'analysis':
                stated = [m[4] for m in BLOCK.finditer(answer)][mistake.opinion]
                assert stated == mistake.detail
                assert stated != SENTIMENT_LEVELS[review.opinions[mistake.opinion].level + 2]


def test_malformed_analyses_come_in_every_form():
    forms = collections.defaultdict(list)
    for _, answer, mistakes in _answers('analysis', error_malformed=1.0):
        forms[mistakes[0].detail].append(answer)
    assert set(forms) == {
        'cut', 'note', 'one_line', 'odd_sentiment', 'carried_over', 'continuation'
    }  # fmt: skip
    assert all(' -- Aspect: ' in a for a in forms['one_line'])
    assert all('\n\nAspect: ' in a for a in forms['carried_over'])
    assert all(a.count('Opinion Target 1:') == 2 for a in forms['continuation'])
    odd = {m[4] for a in forms['odd_sentiment'] for m in BLOCK.finditer(a)}
    assert len(odd) >= 8
    assert not odd & set(SENTIMENT_LEVELS)


def test_the_truth_lies_beside_the_answers(tmp_path):
    config = LabConfig(
        corpus_reviews=60, train_sentences=5, validation_sentences=5, test_sentences=5,
        hard_test_sentences=5, error_malformed=0.5,
    )  # fmt: skip
    write_world(tmp_path, config)
    for kind in ('analysis', 'rewriting'):
        answers = list(read_jsonl(Generation, tmp_path / 'corpus' / kind / 'laptop.jsonl'))
        lines = (tmp_path / 'truth' / kind / 'laptop.jsonl').read_text().splitlines()
        truths = [json.loads(line) for line in lines]
        assert [a.id for a in answers] == [t['id'] for t in truths]
        assert {a.teacher for a in answers} == {'scripted'}
        for answer, truth in zip(answers, truths):
            assert truth['opinions']
            cut = any(m['detail'] == 'cut' for m in truth['mistakes'])
            assert answer.finish_reason == ('length' if cut else 'stop')

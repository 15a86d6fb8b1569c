"""Detectors on the lab's known errors, and the self-check from question to verdict."""

import dataclasses
import json
from pathlib import Path

import pytest

from fsa_jax import stages
from fsa_jax.configs import CorpusConfig, FilterConfig, LabConfig, PromptConfig
from fsa_jax.corpus.prompts import load_prompts
from fsa_jax.corpus.reviews import read_reviews
from fsa_jax.corpus.self_check import name_of, verdicts_of
from fsa_jax.data.corpus_files import read_answers
from fsa_jax.errors import UserError
from fsa_jax.lab.files import write_world
from fsa_jax.records import CorpusExample, Generation, read_jsonl, write_jsonl


@pytest.fixture(scope='module')
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('lab') / 'world'
    write_world(folder, LabConfig(
        corpus_reviews=200, train_sentences=4, validation_sentences=4, test_sentences=4, hard_test_sentences=4,
        error_malformed=0.1, error_made_up_target=0.1, error_wrong_sentiment=0.1,
    ))  # fmt: skip
    return folder


@pytest.fixture(scope='module')
def corpus(world, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('asked') / 'corpus'
    build(folder, world, {'questions': True})
    return folder


def build(folder, world, corpus=None, filters=None):
    config = {'kinds': ('analysis',), 'parquet': False, 'truth': str(world / 'truth')} | (
        corpus or {}
    )
    configs = (
        CorpusConfig(answers=str(world / 'corpus'), **config),
        FilterConfig(**(filters or {})),
    )
    stages.run('corpus', configs, folder)
    return json.loads((folder / 'quality.json').read_text())['detectors']


def truth_of(world, kind):
    """Ids of the analyses with a mistake of that kind."""
    rows = [json.loads(line) for f in (world / 'truth/analysis').iterdir() for line in f.open()]
    return {row['id'] for row in rows if any(m['kind'] == kind for m in row['mistakes'])}


def test_precision_and_recall_are_those_of_the_truth(world, corpus):
    found = json.loads((corpus / 'quality.json').read_text())['detectors']
    wrong = truth_of(world, 'made_up_target')
    rows = [json.loads(line) for line in (corpus / 'rejects.jsonl').open()]
    flagged = {row['id'] for row in rows if 'unsupported_target' in row['reasons']}
    support = found['string support']
    assert (support['errors'], support['flagged']) == (len(wrong), len(flagged))
    assert support['precision'] == len(wrong & flagged) / len(flagged)
    assert support['recall'] == len(wrong & flagged) / len(wrong)
    assert support['precision'] > 0.8
    assert support['recall'] > 0.8
    assert found['form']['precision'] > 0.9
    assert found['form']['recall'] > 0.9
    assert found['stars']['errors'] == len(truth_of(world, 'wrong_sentiment'))
    assert 'self-check' not in found
    assert 'string support' in (corpus / 'quality.md').read_text()


def test_filters_take_what_the_detectors_find(world, tmp_path):
    build(tmp_path / 'on', world, filters={'against_stars': True})
    build(tmp_path / 'off', world, filters={'unsupported_target': False})

    def targets(name):
        examples = read_jsonl(CorpusExample, tmp_path / name / 'data' / 'train-00000.jsonl')
        return [o.target_support for e in examples for o in e.opinions]

    assert 'unsupported' in targets('off')
    assert 'unsupported' not in targets('on')


def test_the_questions_are_a_sample_that_teach_reads(corpus):
    questions = list(read_reviews(corpus / 'self_check'))
    assert len(questions) > 350
    prompts = load_prompts(PromptConfig(kinds=('analysis',), templates=str(corpus / 'self_check')))
    asked = prompts['analysis'].messages(questions[0])[0]['content']
    assert asked.endswith(questions[0].text)
    assert 'Opinion Target 1: "' in asked
    assert '2: wrong' in asked


@pytest.mark.parametrize(
    ('answer', 'verdicts'),
    [
        ('1: holds\n2: wrong', {1: True, 2: False}),
        ('**1.** Wrong, the review says nothing of it\n- 2: Holds', {1: False, 2: True}),
        ('Opinion 3 - wrong', {3: False}),
        ('I cannot say.\n12 of 13 hold', {}),
        ('1: holds\n\nReview: another\n1: wrong\n2: wrong', {1: True}),
        ('1: holds\n2: wrong\n\n1: wrong\n2: holds', {1: True, 2: False}),
        ('Here is the check of the following review:\n1: holds', {1: True}),
    ],
)
def test_verdicts(answer, verdicts):
    assert verdicts_of(answer) == verdicts


def test_what_the_teacher_takes_back_is_dropped_and_scored(world, corpus, tmp_path):
    """A checker that knows the truth of made-up targets finds just those."""
    wrong = truth_of(world, 'made_up_target')
    told = {name_of(a): a.id for a, _ in read_answers(world / 'corpus') if a.kind == 'analysis'}
    answers = []
    for question in read_reviews(corpus / 'self_check'):
        count = question.text.count('Opinion Target ')
        verdicts = ['holds'] * (count - 1) + ['wrong' if told[question.id] in wrong else 'holds']
        text = '\n'.join(f'{n}: {verdict}' for n, verdict in enumerate(verdicts, 1))
        answers.append(Generation(f'{question.id}-analysis', 'analysis', question.text, text))
    write_jsonl(tmp_path / 'answers.jsonl', answers)
    found = build(
        tmp_path / 'c', world, filters={'self_check': str(tmp_path / 'answers.jsonl'), 'unsupported_target': False}
    )['self-check']  # fmt: skip
    assert found['precision'] == 1.0
    assert found['recall'] < 1.0  # it says nothing of wrong sentiments
    both = wrong | truth_of(world, 'wrong_sentiment')
    assert found['errors'] == len(both)
    rows = [json.loads(line) for line in (tmp_path / 'c' / 'rejects.jsonl').open()]
    assert {row['id'] for row in rows if 'self_check' in row['reasons']} == wrong & {
        told[q.id] for q in read_reviews(corpus / 'self_check')
    }


def test_answers_to_other_questions_are_one_line(world, tmp_path):
    write_jsonl(tmp_path / 'answers.jsonl', [Generation('1', 'analysis', 'r', 'No idea.')])
    with pytest.raises(UserError, match="says '1: holds' or '1: wrong'"):
        build(tmp_path / 'c', world, filters={'self_check': str(tmp_path / 'answers.jsonl')})


def test_the_truth_of_another_world_is_one_line(world, tmp_path):
    (tmp_path / 'truth.jsonl').write_text(
        '{"id": "x", "kind": "analysis", "answer": "", "mistakes": []}\n'
    )
    with pytest.raises(UserError, match='knows none of these answers'):
        build(tmp_path / 'c', world, {'truth': str(tmp_path / 'truth.jsonl')})


def test_the_truth_about_other_answers_to_the_same_reviews_is_not_used(world, tmp_path):
    """As `fsa teach` gives them: the lab's teacher, asked anew, makes other mistakes."""
    answers = [g for f in (world / 'corpus/analysis').iterdir() for g in read_jsonl(Generation, f)]
    others = [dataclasses.replace(g, output=f'{g.output}\n') for g in answers]
    write_jsonl(tmp_path / 'answers.jsonl', [*answers[:50], *others[50:]])
    config = CorpusConfig(answers=str(tmp_path / 'answers.jsonl'), truth=str(world / 'truth'))
    stages.run('corpus', (config, FilterConfig()), tmp_path / 'c')
    found = json.loads((tmp_path / 'c' / 'quality.json').read_text())['detectors']
    assert {detector['answers'] for detector in found.values()} == {50}

"""A student's labels (`fsa zero-shot`) against those of its teacher (`fsa in-context`), in one table of `fsa report`."""

import itertools
import json
import re

import numpy as np
import pytest

from fsa_jax import configs as c
from fsa_jax import manifest, stages
from fsa_jax.data import overlap
from fsa_jax.data.store import TokenBatch
from fsa_jax.data.store_writer import StoreWriter
from fsa_jax.data.vocabulary import train_vocabulary
from fsa_jax.errors import UserError
from fsa_jax.evaluate import expense, label_table
from fsa_jax.evaluate.classification import MEASURES
from fsa_jax.records import SENTIMENT_LEVELS, Prediction, read_jsonl, write_jsonl
from fsa_jax.student import Student
from fsa_jax.student.sentiment import opening
from fsa_jax.teacher.engine import Answer
from tests import training

TEXTS = ['the food was great', 'the food was bad', 'slow but good food', 'great and bad', 'so so',
         'no service at all', 'good service', 'bad service']  # fmt: skip
GOLDS = ['positive', 'negative'] * 4


def answered(folder, predictions, stage='in-context', method=None, golds=GOLDS):
    """A finished folder of labels."""
    extra = {'method': method} if method else {}
    with manifest.output(folder, stage, []) as out:
        rows = [
            Prediction(str(n), text, label, task='texts', gold=gold, extra=extra)
            for n, (text, label, gold) in enumerate(zip(TEXTS, predictions, golds))
        ]
        write_jsonl(out.folder / 'predictions.jsonl', rows)
        cost = {'answered': 8, 'prompt_tokens': 80, 'output_tokens': 16, 'seconds_per_1000': 36.0}
        cost = {method: cost} if method else cost | {'cost_per_1000': 0.25}
        content = {'tasks': {'texts': {method or 'in_context': {}}}, 'cost': cost}
        (out.folder / 'scores.json').write_text(json.dumps(content))
    return folder


def told(predictions, folder, name, **more):
    return {name: answered(folder / name.replace('/', '-'), predictions, **more)}


def macro(golds, predictions):
    """Macro F1, as it is defined."""
    f1s = []
    for label in sorted(set(golds)):
        right = sum(g == p == label for g, p in zip(golds, predictions))
        f1s.append(2 * right / (golds.count(label) + predictions.count(label)))
    return np.mean(f1s)


def test_scores_and_p_values_are_those_of_all_swaps(tmp_path):
    student = ['positive'] * 4 + ['negative', 'negative', 'neutral', 'negative']
    teacher = [*GOLDS[:6], '', 'negative']
    folders = told(student, tmp_path, 'student', stage='zero-shot', method='score')
    folders |= told(teacher, tmp_path, 'teacher')
    (found,) = label_table.tables({'texts': folders}, 9999, price_per_hour=2.0)
    rows = {row.name: row for row in found.rows}
    assert found.texts == TEXTS
    for name, predictions in (('student', student), ('teacher', teacher)):
        scores = rows[name].scores
        right = sum(g == p for g, p in zip(GOLDS, predictions))
        assert scores['accuracy'].mean == pytest.approx(100 * right / 8)
        assert scores['macro F1'].mean == pytest.approx(100 * macro(GOLDS, predictions))
        assert scores['macro F1'].low < scores['macro F1'].mean < scores['macro F1'].high
        assert scores['accuracy'].spread is None
    assert (rows['student'].unlabelled, rows['teacher'].unlabelled) == (0, 1)
    # the student pays for 36 seconds of its machine, the teacher for its tokens
    shared = {'input_tokens': 10_000, 'output_tokens': 2_000, 'seconds': 36}
    assert rows['student'].thousand == pytest.approx(shared | {'cost': 0.02})
    assert rows['teacher'].thousand == pytest.approx(shared | {'cost': 0.25})

    pairs = {pair.on: pair for pair in found.compared}
    assert set(pairs) == set(MEASURES)
    differences = []
    for swapped in itertools.product([0, 1], repeat=8):
        sides = [(b, a) if swap else (a, b) for a, b, swap in zip(student, teacher, swapped)]
        differences.append(np.subtract(*(macro(GOLDS, list(side)) for side in zip(*sides))))
    observed = macro(GOLDS, student) - macro(GOLDS, teacher)
    pair = pairs['macro F1']
    assert (pair.a, pair.b) == ('student', 'teacher')
    assert pair.difference.difference == pytest.approx(observed)
    extreme = np.abs(differences) >= abs(observed) - 1e-12
    assert pair.difference.p_value == pytest.approx(np.mean(extreme))


def test_seeds_are_one_row_and_methods_are_rows_of_their_own(tmp_path):
    flipped = GOLDS[::-1]
    folders = told(GOLDS, tmp_path, 'student/1', stage='zero-shot', method='score')
    folders |= told(flipped, tmp_path, 'student/2', stage='zero-shot', method='score')
    folders |= told(GOLDS, tmp_path, 'teacher')
    (found,) = label_table.tables({'texts': folders}, 0)
    student, teacher = found.rows
    assert (student.name, student.seeds, teacher.seeds) == ('student', 2, 1)
    assert student.scores['accuracy'].mean == 50
    assert student.scores['accuracy'].spread == pytest.approx(np.std([0, 100], ddof=1))
    assert student.scores['accuracy'].low is None  # no resamples
    assert found.compared == []
    assert student.thousand['cost'] is None


def test_scores_of_an_earlier_version_do_not_tell_what_they_took(tmp_path):
    folders = told(GOLDS, tmp_path, 'student', stage='zero-shot', method='score')
    path = folders['student'] / 'scores.json'
    path.write_text(json.dumps({'tasks': json.loads(path.read_text())['tasks']}))
    (found,) = label_table.tables({'texts': folders}, 0)
    assert set(found.rows[0].thousand.values()) == {None}


def test_other_rows_are_refused(tmp_path):
    folders = told(GOLDS, tmp_path, 'student')
    folders |= told(GOLDS, tmp_path, 'teacher', golds=GOLDS[::-1])
    with pytest.raises(UserError, match=r'texts, teacher: .* the same rows'):
        label_table.tables({'texts': folders}, 10)


class Knowing:
    """A teacher that says what the gold is, but for the first row, which it refuses."""

    teacher = 'knowing'

    def answers(self, requests):
        for request in requests:
            number = int(request.review.id)
            refused = Answer(refused='too_long')
            yield request, Answer(GOLDS[number], 'stop', 100, 10) if number else refused

    def close(self):
        """Nothing to free."""


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    lines = [*TEXTS, *SENTIMENT_LEVELS, opening('experience', 'overall'), 'Reasoning: quality']
    folder = tmp_path_factory.mktemp('model')
    training.noise(folder / 'model', train_vocabulary(lines, 120, folder / 'vocabulary'))
    return folder / 'model'


def corpus(folder, vocabulary):
    """A packed corpus with one of the TEXTS as a review, and one within a review."""
    long = max(TEXTS, key=lambda text: len(vocabulary.encode(text)))
    assert len(vocabulary.encode(long)) >= overlap.HEAD
    reviews = [min(TEXTS, key=len), f'{long} food', 'food', 'bad bad']
    with manifest.output(folder, 'pack', []) as out:
        vocabulary.save(out.folder / 'vocabulary')
        store = out.folder / 'corpus' / 'train'
        with StoreWriter(store, vocabulary, task='corpus', split='train') as writer:
            pairs = [([*vocabulary.encode(review), 1], [1]) for review in reviews]
            writer.write(TokenBatch.from_pairs(pairs))
    return str(folder)


def test_one_table_sets_the_student_against_its_teacher(tmp_path, model, monkeypatch):
    data = tmp_path / 'texts.jsonl'
    data.write_text(
        '\n'.join(json.dumps({'sentence': t, 'label': g}) for t, g in zip(TEXTS, GOLDS))
    )
    zero = c.ZeroShotConfig(model=str(model), data=str(data), max_new_tokens=16, bootstrap=10)
    stages.run('zero-shot', [zero], tmp_path / 'zero')
    monkeypatch.setattr('fsa_jax.evaluate.in_context.make_engine', lambda *_: Knowing())
    asked = c.InContextConfig(
        mode='sentence', k=0, data=str(data), prompt_price=2.0, output_price=10.0
    )
    every = [asked, c.TeacherConfig(model='known'), c.SamplingConfig(), c.VLLMConfig()]
    stages.run('in-context', [*every, c.ServerConfig()], tmp_path / 'llm')
    scores = {'student': str(tmp_path / 'zero'), 'teacher': str(tmp_path / 'llm')}
    student = Student.from_pretrained(model)
    packed = (corpus(tmp_path / 'corpus', student.vocabulary),)
    config = c.ReportConfig(scores=scores, packed=packed, price_per_hour=2.0, resamples=999)
    stages.run('report', [config], tmp_path / 'report')

    page = (tmp_path / 'report' / 'report.md').read_text()
    cells = {
        line.split(' | ')[0].strip('| '): [cell.strip(' |') for cell in line.split(' | ')[1:]]
        for line in page.splitlines()
        if line.startswith('| ')
    }
    names = ('student (score)', 'student (generate)', 'teacher')
    rows = [row for row in page.splitlines() if re.match(r'\| (student \(|teacher)', row)]
    assert len(rows) == 3 + 3 * 2  # systems, then every two of them by two measures
    assert cells['teacher'][0].startswith('87.5 [')
    assert cells['teacher'][2] == '1'  # no label
    assert cells['teacher'][3:] == ['1e+05', '1e+04', cells['teacher'][5], '0.3']
    alone = json.loads((tmp_path / 'zero' / 'scores.json').read_text())
    for method in ('score', 'generate'):
        assert cells[f'student ({method})'][0].startswith(
            f'{100 * alone["tasks"]["texts"][method]["accuracy"]:.1f} ['
        )
    html = (tmp_path / 'report' / 'report.html').read_text()
    for a, b in itertools.combinations(names, 2):
        assert f'{a} – {b}' in page
        assert f'{a} – {b}' in html

    # the corpus that the student learnt from holds one of the texts, and one inside a review
    assert '2 of texts in corpus/train' in page
    assert '2 of texts in corpus/train' in html

    # what the student takes, by method: nothing is written where likelihoods are compared
    ids = sum(len(student.vocabulary.encode(text)) + 1 for text in TEXTS)
    assert alone['cost']['score']['prompt_tokens'] == ids
    assert alone['cost']['score']['output_tokens'] == 0
    generated = [
        text
        for row in read_jsonl(Prediction, tmp_path / 'zero' / 'predictions.jsonl')
        for text in row.extra.get('generated', ())
    ]
    took = expense.of_runs([tmp_path / 'zero'], 2.0, 'generate')
    expected = sum(len(student.vocabulary.encode(text)) + 1 for text in generated)
    assert took['output_tokens'] == pytest.approx(1000 / 8 * expected)
    assert took['seconds'] > 0
    assert took['cost'] == pytest.approx(took['seconds'] / 3600 * 2.0)

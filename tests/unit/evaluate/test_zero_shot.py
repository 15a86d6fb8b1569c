"""Zero-shot and cross-domain stages: what is read, judged and written; no time for a good student."""

import json

import numpy as np
import pytest

from fsa_jax import manifest, stages
from fsa_jax.configs import (
    CalibrateConfig,
    CrossDomainConfig,
    PredictConfig,
    ScoreConfig,
    ZeroShotConfig,
    to_gin,
)
from fsa_jax.data.store import PackedFolder
from fsa_jax.data.vocabulary import train_vocabulary
from fsa_jax.errors import UserError
from fsa_jax.evaluate import cross_domain, zero_shot
from fsa_jax.evaluate.classification import classify
from fsa_jax.evaluate.prediction_file import PredictionFile
from fsa_jax.records import SENTIMENT_LEVELS, Prediction, read_jsonl, write_jsonl
from fsa_jax.student import Extraction, Found, Student
from fsa_jax.student.sentiment import SentimentScorer, opening
from tests import training
from tests.processes import kill_when

ASPECTS = [
    {'target': 'food', 'category': 'FOOD#QUALITY', 'polarity': 'positive', 'from': 4, 'to': 8},
    {'target': 'NULL', 'category': 'SERVICE#GENERAL', 'polarity': 'negative', 'from': 0, 'to': 0},
]
TEXTS = ('the food was great but slow', 'the food was bad', 'food and service', 'great food')


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
    lines = [*TEXTS, *SENTIMENT_LEVELS, 'food | positive ; neutral | negative ; conflict']
    lines += [opening('experience', 'overall'), 'Reasoning: quality general']
    return train_vocabulary(lines, 120, tmp_path_factory.mktemp('vocabulary'))


@pytest.fixture(scope='module')
def model(tmp_path_factory, vocabulary):
    folder = tmp_path_factory.mktemp('model') / 'model'
    training.noise(folder, vocabulary)
    return folder


@pytest.fixture
def domain(tmp_path):
    folder = tmp_path / 'rest'
    folder.mkdir()
    for name in ('test', 'hard_test', 'train', 'dev'):
        records = [
            {'ID': f'{name}:{i}', 'sentence': text, 'aspects': ASPECTS}
            for i, text in enumerate(TEXTS)
        ]
        (folder / f'{name}.json').write_text(json.dumps(records), 'utf-8-sig')
    return folder


def test_scores_are_those_worked_by_hand():
    golds = ['positive'] * 4 + ['negative'] * 4
    predictions = ['positive'] * 3 + ['negative'] + ['negative'] * 2 + ['positive', 'neutral']
    found = classify(golds, predictions, resamples=2000, seed=0)
    assert found.accuracy == 5 / 8
    positive, negative = 2 * 3 / (4 + 4), 2 * 2 / (4 + 3)
    assert found.f1 == pytest.approx({'positive': positive, 'negative': negative})
    assert found.macro_f1 == pytest.approx((positive + negative) / 2)
    assert found.confusion['negative'] == {'negative': 2, 'positive': 1, 'neutral': 1}
    # a mean of 8 draws of variance p (1 - p)
    low, high = found.accuracy_interval
    assert (low + high) / 2 == pytest.approx(5 / 8, abs=0.07)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(15 / 64 / 8), rel=0.2)
    assert classify(golds, golds, resamples=0, seed=0).macro_f1_interval is None


def test_the_sign_of_the_levels_is_the_sentiment():
    def told(*levels):
        return zero_shot.overall([Found('', 1.0, level=level) for level in levels])

    assert told('Very Positive', 'Negative') == 'positive'
    assert told('Very Negative', 'Positive', 'Mild Sentiment') == 'negative'
    assert told('Positive', 'Negative') == told() == 'neutral'


def test_a_polarity_sums_its_levels_and_long_texts_are_read_whole(model, monkeypatch):
    student = Student.from_pretrained(model, input_length=32)
    scorer = SentimentScorer(student)
    seen = []

    def levels(texts, targets):
        seen.extend(texts)
        return np.log(np.tile([0.1, 0.2, 0.3, 0.15, 0.25], (len(texts), 1)))

    monkeypatch.setattr(scorer, 'levels', levels)
    long = ' '.join(['the food was great.'] * 20)
    assert scorer.of_texts([long])[0] == pytest.approx(
        {'positive': 0.4, 'neutral': 0.3, 'negative': 0.3}
    )
    assert len(seen) > 1
    assert ' '.join(seen) == long


def test_levels_are_length_normalised(model):
    student = Student.from_pretrained(model)
    (row,) = SentimentScorer(student).levels(['the food was great'], [('food', 'quality')])
    vocabulary = student.vocabulary
    ids = [*vocabulary.encode('the food was great'), 1]
    labels = [vocabulary.encode(level) for level in SENTIMENT_LEVELS]
    sums = student.log_likelihoods([ids], [vocabulary.encode(opening('food', 'quality'))], labels)
    assert row == pytest.approx(sums[0] / [len(label) for label in labels])


def test_sentences_are_judged_by_both_methods(tmp_path, model):
    data = tmp_path / 'reviews.jsonl'
    rows = [{'sentence': t, 'label': ('positive', 'negative')[i % 2]} for i, t in enumerate(TEXTS)]
    data.write_text('\n'.join(map(json.dumps, rows)))
    config = ZeroShotConfig(
        model=str(model), data=str(data), max_new_tokens=16, note='noise', bootstrap=10
    )
    stages.run('zero-shot', (config,), tmp_path / 'out')
    content = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    assert set(content['tasks']['reviews']) == {'score', 'generate'}
    assert content['note'] == 'noise'
    assert str(tmp_path) not in json.dumps(content)
    found = list(read_jsonl(Prediction, tmp_path / 'out' / 'predictions.jsonl'))
    assert [row.sentence for row in found] == [*TEXTS, *TEXTS]
    assert {row.prediction for row in found[:4]} <= {'positive', 'negative'}  # labels of the data
    counts = manifest.read(tmp_path / 'out')['counts']
    assert (counts['rows'], counts['methods']) == (4, 2)


def test_killed_and_resumed_is_the_unbroken_run_to_the_byte(tmp_path, model, monkeypatch):
    """It is killed while it reads the second chunk of the first of two methods, or later."""
    data = tmp_path / 'reviews.jsonl'
    words = ' '.join(TEXTS).split()
    texts = [' '.join(words[(i * k) % len(words)] for k in range(1, 5)) for i in range(600)]
    rows = [{'sentence': t, 'label': ('positive', 'negative')[i % 2]} for i, t in enumerate(texts)]
    data.write_text('\n'.join(map(json.dumps, rows)))
    config = ZeroShotConfig(model=str(model), data=str(data), max_new_tokens=8, bootstrap=10)
    (tmp_path / 'run.gin').write_text(to_gin((config,)))
    mark = tmp_path / 'broken' / '.predictions.mark.json'
    kill_when(
        mark.exists, 'zero-shot', f'--gin_file={tmp_path}/run.gin', f'--output={tmp_path}/broken'
    )
    done = json.loads(mark.read_text())['rows']
    assert 256 <= done < 1200
    with open(tmp_path / 'broken' / 'predictions.jsonl', 'a') as file:
        file.write('{"id": "half a chu')
    written = []
    original = PredictionFile.write

    def count(self, predictions):
        written.extend(predictions)
        original(self, predictions)

    monkeypatch.setattr(PredictionFile, 'write', count)
    stages.run('zero-shot', (config,), tmp_path / 'broken')
    assert len(written) == 1200 - done  # nothing is judged twice
    stages.run('zero-shot', (config,), tmp_path / 'unbroken')
    both = [tmp_path / name for name in ('broken', 'unbroken')]
    assert len({(folder / 'predictions.jsonl').read_bytes() for folder in both}) == 1
    scores = [json.loads((folder / 'scores.json').read_text())['tasks'] for folder in both]
    assert scores[0] == scores[1]
    counts = [manifest.read(folder)['counts'] for folder in both]
    assert counts[0] == counts[1]
    assert not mark.exists()


def test_gold_targets_are_rows_of_their_own(domain):
    config = ZeroShotConfig(mode='aspect')
    rows = zero_shot.read_rows(domain, config)
    assert len(rows) == 8  # of test and hard_test; NULL has no target
    assert rows[0].gold == 'positive'
    assert {k: rows[0].extra[k] for k in ('target', 'aspect')} == {
        'target': 'food',
        'aspect': 'food quality',
    }


def test_labels_to_choose_from_are_those_of_all_rows_whatever_the_limit(tmp_path):
    rows = [
        {'sentence': t, 'label': p} for t, p in zip(TEXTS, ['negative', 'negative', 'positive'])
    ]
    (tmp_path / 'r.json').write_text(json.dumps(rows))
    found = zero_shot.read_rows(tmp_path / 'r.json', ZeroShotConfig(limit=2))
    assert [row.extra['labels'] for row in found] == [['positive', 'negative']] * 2


@pytest.mark.parametrize('mode', ['aspect', 'extract'])
@pytest.mark.parametrize(
    ('label', 'message'),
    [
        ({'target': 'food', 'polarity': 'POSITIVE'}, r"r\.jsonl:1: unknown polarity 'POSITIVE'"),
        ({'target': 'Food', 'polarity': 'positive'}, r"r\.jsonl:1: the term 'Food' is not in"),
    ],
)
def test_labels_that_the_scorer_would_drop_are_refused(tmp_path, mode, label, message):
    record = {'sentence': TEXTS[0], 'aspects': [label]}
    (tmp_path / 'r.jsonl').write_text(json.dumps(record))
    with pytest.raises(UserError, match=message):
        zero_shot.read_rows(tmp_path / 'r.jsonl', ZeroShotConfig(mode=mode))


def test_extraction_is_scored_as_predictions_are(tmp_path, model, domain, monkeypatch):
    def extract(self, texts, task, **settings):
        assert task == 'analysis'
        said = Found('positive', 0.5, spans=((4, 8),), term='food', level='Positive')
        implied = Found('negative', 0.5, term='waiting', level='Negative')
        return [Extraction(text, (said, implied)) for text in texts]

    monkeypatch.setattr(Student, 'extract', extract)
    config = ZeroShotConfig(model=str(model), data=str(domain), mode='extract', bootstrap=0)
    stages.run('zero-shot', (config,), tmp_path / 'out')
    ours = json.loads((tmp_path / 'out' / 'scores.json').read_text())['tasks']['rest']
    assert ours['subsets']['normal']['recall'] == 1.0
    assert ours['subsets']['normal']['precision'] == 1.0  # the implied one names no term
    stages.run(
        'score', (ScoreConfig(predictions=str(tmp_path / 'out'), bootstrap=0),), tmp_path / 's'
    )
    assert json.loads((tmp_path / 's' / 'scores.json').read_text())['tasks']['rest'] == ours


def test_only_a_benchmark_says_which_sentences_are_implicit(tmp_path, domain):
    """Nobody labelled opinion words in a user's own file."""
    file = tmp_path / 'own.jsonl'
    pair = {'term': 'food', 'polarity': 'positive'}
    file.write_text(json.dumps({'sentence': 'great food', 'aspects': [pair]}))
    (own,) = zero_shot.read_rows(file, ZeroShotConfig(mode='extract'))
    assert own.subsets == ('normal',)
    assert 'implicit' in zero_shot.read_rows(domain, ZeroShotConfig(mode='extract'))[0].subsets


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"sentence": "a", "labl": "positive"}', r"r\.jsonl:1: .*'label'.*did you mean 'labl'"),
        ('{"sentence": "a", "label": "good"}', r'r\.jsonl:1: label must be one of'),
        ('{"sentence": 3, "label": "positive"}', r'ZeroShotConfig\.text_field'),
        ('[]', 'holds nothing to judge'),
    ],
)
def test_bad_data_is_one_clear_line(tmp_path, text, message):
    (tmp_path / 'r.jsonl').write_text(text)
    with pytest.raises(UserError, match=message):
        zero_shot.read_rows(tmp_path / 'r.jsonl', ZeroShotConfig())


def test_the_teacher_must_answer_the_same_rows(tmp_path, domain):
    config = CrossDomainConfig(domains={'rest': str(domain)}, bootstrap=0)
    rows = zero_shot.read_rows(domain, ZeroShotConfig(mode='extract'))
    teacher = tmp_path / 'teacher'
    teacher.mkdir()
    answers = [Prediction(row.id, row.sentence, row.gold) for row in rows]
    write_jsonl(teacher / 'predictions.jsonl', answers)
    cell = cross_domain._teacher('extraction/rest', teacher, {'rest': domain}, config)
    assert (cell.system, cell.value) == ('teacher', 1.0)
    write_jsonl(teacher / 'predictions.jsonl', answers[1:])
    with pytest.raises(UserError, match='no answer to 1 of 8 rows'):
        cross_domain._teacher('extraction/rest', teacher, {'rest': domain}, config)


def test_the_matrix_marks_domains_that_were_not_seen(capsys):
    config = CrossDomainConfig(domains={'rest': 'a', 'hotel': 'b'}, seen=('rest',))
    cells = [
        cross_domain.Cell('student', 'fine-tuned', 'hotel', 0.5, None, 'rest'),
        cross_domain.Cell('student', 'classification', 'rest', 0.25, None),
    ]
    cross_domain.print_matrix(cells, config)
    lines = [' '.join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert 'measure system rest hotel *' in lines
    assert lines.index('classification student 25.0 -') < lines.index(
        'fine-tuned on rest student - 50.0'
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'seen': ('hotl',)}, "did you mean 'hotel'"),
        ({'teacher': {'extract/hotel': 'x'}}, "expected 'extraction/DOMAIN'"),
    ],
)
def test_a_misspelt_domain_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        CrossDomainConfig(domains={'hotel': 'a'}, **changes)


def test_constrained_predictions_are_kept_whole(tmp_path, model):
    (tmp_path / 'in.txt').write_text('\n'.join(TEXTS))
    config = PredictConfig(
        model=str(model), input=str(tmp_path / 'in.txt'), constrained=True, metric='atsa'
    )
    from fsa_jax.configs import DecodeConfig, MeshConfig
    from fsa_jax.text_format import parse

    run = (config, DecodeConfig(max_new_tokens=16), MeshConfig(data=1))
    stages.run('predict', run, tmp_path / 'out')
    rows = list(read_jsonl(Prediction, tmp_path / 'out' / 'predictions.jsonl'))
    assert [row.sentence for row in rows] == list(TEXTS)
    assert not any(parse('atsa', row.prediction, row.sentence).dropped for row in rows)
    assert manifest.read(tmp_path / 'out')['counts']['spans_not_representable'] == 0
    with pytest.raises(UserError, match=r'needs PredictConfig\.metric'):
        config.replace(metric='')


def test_a_student_of_no_opinions_is_not_calibrated(tmp_path, model, tiny_spiece, monkeypatch):
    monkeypatch.setattr(
        Student, 'extract', lambda self, texts, *_, **__: [Extraction(t) for t in texts]
    )
    monkeypatch.setattr(PackedFolder, 'check_vocabulary', lambda *_: None)
    packed = training.pack(tmp_path / 'packed', tiny_spiece)
    config = CalibrateConfig(model=str(model), data=str(packed))
    with pytest.raises(UserError, match=r'0 right and 0 wrong opinions in 0 sentences .* too few'):
        stages.run('calibrate', (config,), tmp_path / 'out')


def test_calibrate_names_what_is_missing(tmp_path, model):
    with pytest.raises(UserError, match=r'CalibrateConfig\.data is empty'):
        stages.run('calibrate', (CalibrateConfig(model=str(model)),), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()

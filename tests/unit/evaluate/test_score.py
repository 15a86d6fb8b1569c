"""Stage score: subsets, intervals, the trivial baseline, a metric of the user's own, and errors."""

import json
import sys

import numpy as np
import pytest

from fsa_jax import cli, manifest, stages
from fsa_jax.configs import ScoreConfig, VocabularyConfig
from fsa_jax.data.store import TokenBatch
from fsa_jax.data.store_writer import StoreWriter
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.evaluate import baseline, bootstrap, f1
from fsa_jax.evaluate.score import read_predictions
from fsa_jax.records import Example, Prediction, write_jsonl

ROWS = [
    Prediction('1', 'the pasta', 'pasta | positive', 't', 'atsa', 'pasta | positive', ('explicit',)),
    Prediction('2', 'the wine', '', 't', 'atsa', 'wine | negative', ('implicit',), ('empty',)),
    Prediction(
        '3', 'the pasta and wine', 'pasta | neutral ; Wine | neutral ; wine | negative', 't', 'atsa',
        'pasta | positive ; wine | negative', ('implicit', 'multiple'), ('truncated',),
    ),
]  # fmt: skip


@pytest.fixture
def predictions(tmp_path):
    folder = tmp_path / 'predictions'
    folder.mkdir()
    write_jsonl(folder / 'predictions.jsonl', ROWS)
    return folder


def run(folder, predictions, **knobs):
    stages.run('score', [ScoreConfig(predictions=str(predictions), **knobs)], folder / 'scores')
    return json.loads((folder / 'scores' / 'scores.json').read_text())['tasks']


def test_running_from_config_gin_repeats_the_scores(tmp_path, predictions):
    run(tmp_path, predictions, bootstrap=50, seed=3)
    first, again = tmp_path / 'scores', tmp_path / 'again'
    assert cli.main(['score', f'--gin_file={first}/config.gin', f'--output={again}']) == 0
    assert manifest.read(again)['files'] == manifest.read(first)['files']  # every byte


def test_predictions_that_are_not_finished_are_not_scored(tmp_path, predictions):
    """Those of a killed run are fewer; a folder that no stage wrote is as it is."""
    (predictions / manifest.UNFINISHED).write_text('{}')
    with pytest.raises(UserError, match='predictions is not finished: the same command again'):
        run(tmp_path, predictions)
    (predictions / manifest.MANIFEST).write_text('{}')  # it came, and the note is about to go
    assert read_predictions(predictions)


def test_scores_are_whole_where_nobody_reads_the_table(tmp_path, predictions, monkeypatch, unread):
    monkeypatch.setattr(sys, 'stdout', unread)
    run(tmp_path, predictions)
    manifest.verify(tmp_path / 'scores')


def test_subsets_by_hand(tmp_path, predictions, capsys):
    entry = run(tmp_path, predictions, bootstrap=0)['t']
    assert (entry['rows'], entry['empty'], entry['flags']) == (3, 1, {'empty': 1, 'truncated': 1})
    subsets = entry['subsets']
    assert list(subsets) == ['normal', 'implicit', 'multiple', 'explicit']
    # normal: 3 kept predictions, 2 right; 4 gold, 2 found; one part dropped
    normal = subsets['normal']
    assert (normal['precision'], normal['recall']) == pytest.approx((2 / 3, 2 / 4))
    assert (normal['strict_precision'], normal['strict_recall']) == pytest.approx((2 / 4, 2 / 4))
    assert (normal['sentences'], normal['predicted'], normal['gold'], normal['dropped']) == (
        3,
        3,
        4,
        1,
    )
    assert subsets['implicit']['f1'] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert subsets['multiple']['f1'] == pytest.approx(1 / 2)
    assert subsets['explicit']['f1'] == 1
    assert 'f1_interval' not in normal
    assert 'baseline' not in entry
    printed = capsys.readouterr().out
    assert '57.1' in printed  # F1 of normal = 4/7
    assert 'multiple' in printed


def test_what_is_kept_for_the_report(tmp_path, predictions):
    run(tmp_path, predictions)
    lines = (tmp_path / 'scores' / 'examples.jsonl').read_text().splitlines()
    assert json.loads(lines[2]) == {
        'task': 't',
        'id': '3',
        'sentence': 'the pasta and wine',
        'right': ['wine | negative'],
        'wrong': ['pasta | neutral'],
        'missed': ['pasta | positive'],
        'dropped': ['Wine | neutral'],
        'counts': [2, 1, 2, 1, 1, 1],
        'subsets': ['implicit', 'multiple'],
    }
    counts = manifest.read(tmp_path / 'scores')['counts']
    assert counts == {'sentences': 3, 'empty': 1}


def test_bootstrap_is_that_of_resampled_sentences():
    """Against the plain loop that draws sentences with replacement, in distribution."""
    rng = np.random.default_rng(1)
    counts = f1.count(
        'acsa',
        [['a | positive', 'b | neutral ; x', ''][i] for i in rng.integers(3, size=200)],
        ['a | positive'] * 200,
        [''] * 200,
    )
    plain = [f1.ratios(counts[rng.integers(200, size=200)].sum(0)) for _ in range(4000)]
    expected = np.quantile(plain, [0.025, 0.975], axis=0).T
    np.testing.assert_allclose(bootstrap.intervals(counts, 4000, seed=0), expected, atol=0.01)


def test_bootstrap_repeats_and_holds_the_score(tmp_path, predictions):
    knobs = {'bootstrap': 500, 'seed': 3}
    first = run(tmp_path / 'a', predictions, **knobs)['t']['subsets']
    assert run(tmp_path / 'b', predictions, **knobs)['t']['subsets'] == first
    low, high = first['normal']['f1_interval']
    assert low < first['normal']['f1'] < high
    assert first['explicit']['f1_interval'] == [1, 1]


def test_most_frequent_pair():
    golds = ['b | neutral', 'a | positive ; b | negative', 'a | positive', 'b | neutral', '']
    assert baseline.most_frequent_pair('acsa', golds) == 'b | neutral'  # a tie: the first seen
    assert baseline.most_frequent_pair('atsa:good', ['a | good', 'a | positive']) == 'a | good'
    with pytest.raises(UserError, match='no training sentence'):
        baseline.most_frequent_pair('acsa', ['', 'a | b'])


def test_trivial_baseline_from_the_training_split(tmp_path, predictions, tiny_spiece):
    golds = ['wine | negative', 'pasta | positive ; wine | negative', 'pasta | neutral']
    examples = [Example(str(i), 's', gold=gold) for i, gold in enumerate(golds)]
    with manifest.output(tmp_path / 'packed', 'pack', []) as out:
        vocabulary = Vocabulary.from_config(VocabularyConfig(path=str(tiny_spiece)))
        vocabulary.save(out.folder / 'vocabulary')
        writer = StoreWriter(
            out.folder / 't' / 'train', vocabulary, task='t', split='train', metric='atsa'
        )
        with writer:
            writer.write(TokenBatch.from_pairs([([5, 1], [6, 1])] * 3, examples=examples))
    entry = run(tmp_path, predictions, baseline_data=str(tmp_path / 'packed'))['t']['baseline']
    assert entry['prediction'] == 'wine | negative'
    # dropped for sentence 1, which has no wine: 2 predicted, 2 right; 4 gold, 2 found
    normal = entry['subsets']['normal']
    assert (normal['precision'], normal['recall']) == pytest.approx((1, 1 / 2))


def test_a_metric_of_your_own(tmp_path, predictions, monkeypatch):
    (tmp_path / 'my_metrics.py').write_text(
        'def exact(predictions, golds):\n'
        '    return {"exact": sum(map(str.__eq__, predictions, golds)) / len(golds)}\n'
        'def broken(predictions, golds):\n'
        '    return 0.5\n'
    )
    monkeypatch.setattr(sys, 'path', sys.path[:])
    monkeypatch.chdir(tmp_path)
    entry = run(tmp_path, predictions, metric_module='my_metrics:exact')['t']
    assert entry['user_metrics'] == {'exact': pytest.approx(1 / 3)}
    assert 'subsets' in entry
    with pytest.raises(UserError, match=r'must return \{name: number\}; got 0\.5'):
        run(tmp_path / 'again', predictions, metric_module='my_metrics:broken')
    sys.modules.pop('my_metrics')


def test_a_task_without_a_metric_is_scored_by_your_own(tmp_path, predictions, monkeypatch, capsys):
    write_jsonl(predictions / 'predictions.jsonl', [Prediction('1', 's', 'a', 'mine', gold='a')])
    (tmp_path / 'mine.py').write_text('def same(p, g):\n    return {"same": p == g}\n')
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    entry = run(tmp_path, predictions, metric_module='mine:same')['mine']
    assert entry['user_metrics'] == {'same': 1.0}
    assert 'subsets' not in entry
    assert 'mine: same 1' in capsys.readouterr().out
    assert (tmp_path / 'scores' / 'examples.jsonl').read_text() == ''
    sys.modules.pop('mine')


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (
            [Prediction('7', 's', 'p', 't', 'acsa')],
            "row 1 .id '7'. has no gold.*PredictConfig.data",
        ),
        ([Prediction('7', 's', 'p', 't', gold='g')], 'no metric.*ScoreConfig.metric_module'),
        ([Prediction('7', 's', 'p', 't', 'bleu', 'g')], "'acsa' or 'atsa'.*'bleu'"),
        ([], 'is empty'),
    ],
)
def test_rows_that_cannot_be_scored(tmp_path, predictions, rows, message):
    write_jsonl(predictions / 'predictions.jsonl', rows)
    with pytest.raises(UserError, match=message):
        run(tmp_path, predictions)
    assert not (tmp_path / 'scores').exists()


@pytest.mark.parametrize('name', ['nowhere', 'nowhere:f', 'json:nothing'])
def test_a_metric_that_is_not_there(tmp_path, predictions, name):
    with pytest.raises(UserError, match=f'ScoreConfig.metric_module={name!r}'):
        run(tmp_path, predictions, metric_module=name)


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r'ScoreConfig\.predictions must name'):
        run(tmp_path, '')
    with pytest.raises(UserError, match='does not exist'):
        run(tmp_path, tmp_path / 'nowhere')
    (tmp_path / 'other').mkdir()
    with pytest.raises(UserError, match=r'has no predictions\.jsonl'):
        run(tmp_path, tmp_path / 'other')


@pytest.mark.data
@pytest.mark.parametrize(('task', 'dataset', 'low', 'high'), [
    ('acsa', 'rest16', 0.22, 0.24),
    ('atsa', 'rest14', 0.115, 0.135),
])  # fmt: skip
def test_the_trivial_baseline_on_real_data(shared, task, dataset, low, high):
    """About 23 F1 on rest16 and 12 to 13 on rest14, as reported for the published files."""
    from fsa_jax.records import Aspect
    from fsa_jax.text_format import acsa_target, atsa_target

    target = {'acsa': acsa_target, 'atsa': atsa_target}[task]

    def read(name):
        path = shared / 'data/fsa' / task / dataset / f'{name}.json'
        for record in json.loads(path.read_text(encoding='utf-8-sig')):
            aspects = [
                Aspect(a['target'], a['category'], a['polarity'], a['from'], a['to'])
                for a in record['aspects']
            ]
            yield target(aspects), record['sentence']

    pair = baseline.most_frequent_pair(task, (gold for gold, _ in read('train')))
    golds, sentences = zip(*[*read('test'), *read('hard_test')])
    got = f1.score(task, [pair] * len(golds), golds, sentences)
    assert low < got.f1 < high, (pair, got)

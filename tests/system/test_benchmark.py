"""`fsa benchmark` end to end on a small world in the published form: two seeds and files of answers."""

import json
import shutil
import statistics
from pathlib import Path

import pytest

from fsa_jax import configs as c
from fsa_jax import manifest, stages
from fsa_jax.data.store import PackedFolder
from fsa_jax.errors import UserError
from fsa_jax.evaluate import benchmark, f1
from fsa_jax.evaluate.benchmark_results import shown
from fsa_jax.records import Prediction, read_jsonl
from fsa_jax.teacher.engine import Answer
from tests.training import STUDENT, pack, sentences

pytest.importorskip('seqio')
pytestmark = pytest.mark.timeout(900)
DATASET = 'atsa_toy'
SEEDS = (3, 7)


def write_data(root):
    """Four files as published; a test sentence at least is in train too."""
    folder = root / 'fsa' / 'atsa' / 'toy'
    folder.mkdir(parents=True)
    leaked = sentences(1, seed=5)[0]
    for number, (name, count) in enumerate(
        {'train': 48, 'dev': 12, 'test': 12, 'hard_test': 8}.items()
    ):
        drawn = sentences(count, seed=number) + [leaked] * (name in ('train', 'test'))
        records = []
        for i, (text, target) in enumerate(drawn):
            pairs = [part.split(' | ') for part in target.split(' ; ')]
            aspects = [
                {'target': t, 'polarity': p, 'category': None, 'from': text.index(t),
                 'to': text.index(t) + len(t), 'opinion_words': ['x'] if i % 2 else None}
                for t, p in pairs
            ]  # fmt: skip
            records.append({'ID': f'{name}{i}', 'sentence': text, 'aspects': aspects})
        (folder / f'{name}.json').write_text(json.dumps(records), encoding='utf-8-sig')
    return root


@pytest.fixture(scope='module')
def world(tmp_path_factory, tiny_spiece):
    """(output, configs): a finished benchmark of a student, its half-data twin and two files."""
    folder = tmp_path_factory.mktemp('benchmark')
    data = write_data(folder / 'data')
    tests = [
        r for name in ('test', 'hard_test')
        for r in json.loads((data / 'fsa/atsa/toy' / f'{name}.json').read_text('utf-8-sig'))
    ]  # fmt: skip
    golds = [
        ' ; '.join(
            f'{a["target"]} | {a["polarity"]}'
            for a in sorted(r['aspects'], key=lambda a: (a['from'], a['to']))
        )
        for r in tests
    ]
    (folder / 'gold.txt').write_text('\n'.join(golds) + '\n')
    half = [
        {'prediction': gold if i % 2 else '', 'sentence': r['sentence']}
        for i, (gold, r) in enumerate(zip(golds, tests))
    ]
    (folder / 'half.jsonl').write_text('\n'.join(map(json.dumps, half)) + '\n')
    configs = (
        c.BenchmarkConfig(
            data_dir=str(data),
            datasets=(DATASET,),
            vocabulary=str(tiny_spiece),
            seeds=SEEDS,
            epochs=1.0,
            train_fraction=(0.5, 1.0),
            predictions={
                f'gold/{DATASET}': str(folder / 'gold.txt'),
                f'half/{DATASET}/9': str(folder / 'half.jsonl'),
            },
            price_per_hour=2.0,
            resamples=200,
            compilation_cache=str(folder / 'xla'),
        ),
        c.T5Config(**STUDENT | {'num_layers': 1, 'num_decoder_layers': 1}),
        c.RowsConfig(layout='pairs', encoder_length=0, decoder_length=0, buckets=1),
        c.OptimizerConfig(learning_rate=3e-3),
        c.MeshConfig(),
        c.DecodeConfig(max_new_tokens=8),
    )
    stages.run('benchmark', configs, folder / 'out')
    return folder / 'out', configs


@pytest.fixture(scope='module')
def found(world):
    return json.loads((world[0] / 'results.json').read_text())


def test_the_table_has_every_system_on_every_subset(found):
    of = found['datasets'][DATASET]
    assert list(of['systems']) == ['student@0.5', 'student', 'gold', 'half']
    assert list(of['sentences']) == ['normal', 'implicit', 'multiple', 'explicit']
    assert of['sentences']['normal'] == 21
    for name, system in of['systems'].items():
        seeds = {'gold': ['1'], 'half': ['9']}.get(name, [str(seed) for seed in SEEDS])
        for cell in system['subsets'].values():
            assert list(cell['seeds']) == seeds
            assert cell['mean'] == pytest.approx(statistics.mean(cell['seeds'].values()), abs=0.011)
            assert (cell['sd'] is None) == (len(seeds) == 1)
            assert cell['interval'][0] <= cell['mean'] + 0.01 <= cell['interval'][1] + 0.02
        assert set(system['breakdown']) == {'polarity'}
    assert of['systems']['gold']['subsets']['normal']['mean'] == 100
    assert set(of['systems']['student']['dev']) == {'3', '7'}
    assert of['baseline']['normal'] < 100


def test_the_tests_between_systems(found):
    pairs = found['datasets'][DATASET]['significance']
    assert len(pairs) == 6 * 4
    pair = next(x for x in pairs if (x['a'], x['b'], x['subset']) == ('gold', 'half', 'normal'))
    of = found['datasets'][DATASET]['systems']
    gap = of['gold']['subsets']['normal']['mean'] - of['half']['subsets']['normal']['mean']
    assert pair['difference'] == pytest.approx(gap, abs=0.011)
    assert pair['p'] < 0.05
    assert pair['interval'][0] > 0


def test_a_leak_is_named_everywhere(world, found):
    output, (config, *_) = world
    folder = Path(config.data_dir, 'fsa/atsa/toy')
    texts = {
        name: {r['sentence'] for r in json.loads((folder / f'{name}.json').read_text('utf-8-sig'))}
        for name in ('train', 'test', 'hard_test')
    }
    shared = len((texts['test'] | texts['hard_test']) & texts['train'])
    line = f'{shared} of fsa_{DATASET}/test in fsa_{DATASET}/train'
    assert line in found['leakage']
    for page in ('results.md', 'report/report.md', 'report/report.html'):
        assert line in (output / page).read_text()


def test_a_corpus_is_searched_for_test_sentences(world, tiny_spiece, tmp_path):
    """Of each of its tasks what it shares with the test set is named, in the table's page and the report."""
    _, (config, *rest) = world
    corpus = pack(tmp_path / 'corpus', tiny_spiece, {'analysis': '', 'rewriting': ''})
    table = config.replace(
        models={},
        train_fraction=(1.0,),
        predictions={f'gold/{DATASET}': config.predictions[f'gold/{DATASET}']},
        corpus=str(corpus),
    )
    stages.run('benchmark', (table, *rest), tmp_path / 'out')
    line = json.loads((tmp_path / 'out' / 'results.json').read_text())['leakage']
    folder = Path(config.data_dir, 'fsa/atsa/toy')
    test = {
        r['sentence']
        for name in ('test', 'hard_test')
        for r in json.loads((folder / f'{name}.json').read_text('utf-8-sig'))
    }
    for number, task in enumerate(('analysis', 'rewriting')):
        shared = len(test & {text for text, _ in sentences(96, seed=10 * number + 5)})
        assert shared
        assert f'{shared} of fsa_{DATASET}/test in {task}/train' in line
    assert line in (tmp_path / 'out' / 'report/report.html').read_text()


def test_a_fraction_is_trained_on_its_share(world):
    output, _ = world
    of = {s: manifest.read(output / DATASET / s / 'seeds-3-7') for s in ('student', 'student@0.5')}
    knobs = {s: told['knobs']['RowsConfig.train_fraction'] for s, told in of.items()}
    assert knobs == {'student': 1.0, 'student@0.5': 0.5}
    steps = {s: told['counts']['steps'] for s, told in of.items()}
    assert steps['student'] == 2 * steps['student@0.5']


def test_the_pages_show_what_results_json_says(world, found):
    output, _ = world
    text, report = (output / 'results.md').read_text(), (output / 'report/report.html').read_text()
    for system in found['datasets'][DATASET]['systems'].values():
        assert shown(system['subsets']['normal']) in text
    assert 'by polarity' in (output / 'report/report.md').read_text()
    assert 'Is the difference significant?' in report
    assert report.count('<svg') >= 2  # the curves of loss and of F1 on dev
    assert str(output.parent) not in (output / 'results.json').read_text()


def test_what_a_thousand_reviews_take(world, found):
    """A student's tokens, seconds and, by the hour's price, cost; a file of answers tells nothing."""
    output, _ = world
    systems = found['datasets'][DATASET]['systems']
    told = systems['student']['thousand']
    seconds = [
        manifest.read(output / DATASET / 'student' / f'predictions-{seed}')['counts']['seconds']
        for seed in SEEDS
    ]
    assert told['seconds'] == pytest.approx(1000 / 21 * statistics.mean(seconds))
    assert told['cost'] == pytest.approx(told['seconds'] / 3600 * 2.0)
    store = PackedFolder(output / 'packed').store(f'fsa_{DATASET}', 'test')
    ids = sum(len(store.pair(i)[0]) for i in range(len(store)))
    assert told['input_tokens'] == pytest.approx(1000 / 21 * ids)
    assert 1000 <= told['output_tokens'] <= 1000 * 9
    assert systems['gold']['thousand'] is None
    assert 'For 1,000 reviews' in (output / 'results.md').read_text()


class Known:
    """An engine whose answers, and so whose F1, are known: right about every other sentence."""

    teacher = 'known'

    def __init__(self, golds):
        self.golds = golds

    def answers(self, requests):
        for request in requests:
            right = int(request.review.id) % 2
            text = self.golds[int(request.review.id)] if right else 'none'
            yield request, Answer(text.replace(' ; ', '\n'), 'stop', 100, 10)

    def close(self):
        """Nothing to free."""


def test_a_large_language_model_stands_in_the_table_of_the_student(world, tmp_path, monkeypatch):
    """`fsa in-context` gives the same F1 there, tested against the student, with what both take."""
    output, (config, *rest) = world
    golds = Path(config.predictions[f'gold/{DATASET}']).read_text().splitlines()
    monkeypatch.setattr('fsa_jax.evaluate.in_context.make_engine', lambda *_: Known(golds))
    asked = c.InContextConfig(
        dataset=DATASET, data_dir=config.data_dir, k=2, prompt_price=2.0, output_price=10.0
    )
    every = [asked, c.TeacherConfig(model='known'), c.SamplingConfig(), c.VLLMConfig()]
    stages.run('in-context', [*every, c.ServerConfig()], tmp_path / 'llm')
    student = output / DATASET / 'student'
    table = config.replace(
        models={},
        train_fraction=(1.0,),
        predictions={f'llm/{DATASET}': str(tmp_path / 'llm')}
        | {f'tuned/{DATASET}/{seed}': str(student / f'predictions-{seed}') for seed in SEEDS},
    )
    stages.run('benchmark', (table, *rest), tmp_path / 'out')
    found = json.loads((tmp_path / 'out' / 'results.json').read_text())['datasets'][DATASET]
    alone = json.loads((tmp_path / 'llm' / 'scores.json').read_text())
    f1s = alone['tasks'][f'fsa_{DATASET}']['subsets']
    pairs = {x['subset']: x for x in found['significance']}
    for subset in found['sentences']:
        mean = found['systems']['llm']['subsets'][subset]['mean']
        assert mean == pytest.approx(100 * f1s[subset]['f1'], abs=0.006)
        pair = pairs[subset]
        gap = mean - found['systems']['tuned']['subsets'][subset]['mean']
        assert {pair['a'], pair['b']} == {'llm', 'tuned'}
        assert abs(pair['difference']) == pytest.approx(abs(gap), abs=0.011)
        assert pair['interval'][0] <= pair['difference'] <= pair['interval'][1]
    assert pairs['normal']['p'] < 0.05
    expected = json.loads((output / 'results.json').read_text())['datasets'][DATASET]['systems']
    assert found['systems']['tuned']['subsets'] == expected['student']['subsets']
    assert found['systems']['tuned']['thousand'] == expected['student']['thousand']
    llm = found['systems']['llm']['thousand']
    assert (llm['input_tokens'], llm['output_tokens']) == (100_000, 10_000)
    assert llm['cost'] == pytest.approx(0.3)


def test_a_prediction_comes_from_the_seed_that_it_names(world):
    output, _ = world
    folder = output / DATASET / 'student'
    rows = list(read_jsonl(Prediction, folder / 'predictions-3' / 'predictions.jsonl'))
    assert len(rows) == 21
    score = f1.score('atsa', [r.prediction for r in rows], [r.gold for r in rows],
                     [r.sentence for r in rows])  # fmt: skip
    scores = json.loads((folder / 'scores-3' / 'scores.json').read_text())['tasks']
    assert scores[f'fsa_{DATASET}']['subsets']['normal']['f1'] == pytest.approx(score.f1)
    knobs = manifest.read(folder / 'predictions-3')['knobs']
    assert knobs['PredictConfig.seed'] == 3


def test_what_is_finished_is_not_run_again(world, found, monkeypatch):
    output, configs = world
    with pytest.raises(manifest.AlreadyDone):
        stages.run('benchmark', configs, output)
    # as after a kill: the benchmark is not finished, and one cell has no scores
    (output / manifest.MANIFEST).unlink()
    job = {'stage': 'benchmark', 'knobs': manifest.knobs(configs)}
    (output / '.job.json').write_text(json.dumps(job))
    shutil.rmtree(output / DATASET / 'student' / 'scores-7')
    ran, run = [], stages.run

    def counted(name, *given, **options):
        run(name, *given, **options)
        ran.append(name)

    monkeypatch.setattr(stages, 'run', counted)
    run('benchmark', configs, output)
    assert ran == ['score']
    assert json.loads((output / 'results.json').read_text())['datasets'] == found['datasets']


def test_groups_that_have_begun_stay_as_they_are(world):
    output, (config, *rest) = world
    tuning = benchmark.Tuning(*rest)
    cell = benchmark.Cell(DATASET, 'student', '', output / 'packed')
    where = output / DATASET / 'student'
    more = config.replace(seeds=(3, 7, 11, 12, 13), group=2)
    assert benchmark._groups(where, cell, more, tuning) == [(3, 7), (11, 12), (13,)]
    assert benchmark._groups(where, cell, config.replace(group=1), tuning) == [(3, 7)]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('a\nb\n', 'expected 21 answers, one for each sentence'),
        (b'caf\xe9\n' * 21, 'expected UTF-8'),
        ('{"prediction": 3}\n' * 21, ":1: expected a JSON object with the text 'prediction'"),
        (
            '{"prediction": "", "sentence": "x"}\n' * 21,
            'the answer to another sentence than the 1th',
        ),
    ],
)
def test_a_file_of_answers_that_does_not_fit_is_said(world, tmp_path, content, message):
    output, (config, *_) = world
    path = tmp_path / 'answers.jsonl'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    cell = benchmark.Cell(DATASET, 'mine', '', output / 'packed')
    with pytest.raises(UserError, match=message):
        benchmark._score_file(tmp_path / 'mine', cell, str(path), '1', config)


@pytest.mark.parametrize(
    ('knobs', 'message'),
    [
        ({'datasets': ('rest16',)}, 'expected acsa_NAME or atsa_NAME'),
        ({'vocabulary': ''}, 'needs BenchmarkConfig.vocabulary'),
        (
            {'vocabulary': '', 'models': {}, 'predictions': {f'x/{DATASET}': 'y'}},
            'needs BenchmarkConfig.vocabulary',
        ),
        ({'models': {}}, 'there is no system'),
        ({'data_dir': ''}, 'data_dir is empty'),
        ({'seeds': (1, 1)}, 'each once'),
        ({'predictions': {'x': 'y'}}, "a key is 'SYSTEM/DATASET'"),
        ({'train_fraction': (0.0,)}, r'must be in \(0, 1\]'),
    ],
)
def test_bad_configs_are_said_before_anything_runs(world, tmp_path, knobs, message):
    _, (config, *rest) = world
    with pytest.raises(UserError, match=message):
        stages.run(
            'benchmark', (config.replace(**{'predictions': {}} | knobs), *rest), tmp_path / 'o'
        )
    assert not (tmp_path / 'o').exists()

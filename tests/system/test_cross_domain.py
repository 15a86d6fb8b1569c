"""`fsa cross-domain` on the lab's world: base, distilled student and teacher, to the finished matrix."""

import json
from pathlib import Path

import pytest

from fsa_jax import configs as c
from fsa_jax import manifest, stages
from fsa_jax.data.vocabulary import Vocabulary, train_vocabulary
from fsa_jax.evaluate import cross_domain, labelled
from fsa_jax.lab.files import world_texts, write_world
from fsa_jax.records import Prediction, write_jsonl
from fsa_jax.train.checkpoint import open_model
from tests import training

pytest.importorskip('seqio')
MEASURES = ('classification', 'extraction')


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """The lab's world, very small, and its vocabulary."""
    folder = tmp_path_factory.mktemp('world')
    config = c.LabConfig(
        corpus_reviews=40, train_sentences=32, validation_sentences=8, test_sentences=12,
        hard_test_sentences=8,
    )  # fmt: skip
    write_world(folder, config)
    train_vocabulary(world_texts(folder), 400, folder / 'vocabulary')
    return folder


def distil(folder, world, base):
    """A few steps on the scripted teacher's answers."""
    pack = c.PackConfig(
        tasks=('sentiment_understanding',), corpus=str(world / 'corpus'), data_dir=str(world),
        input_length=64, target_length=128,
    )  # fmt: skip
    words = open_model(base).vocabulary.as_config(world / 'vocabulary')
    stages.run('pack', [pack, words, c.TrainData()], folder / 'packed')
    knobs = {'steps': 5, 'batch_size': 8, 'validation_split': '', 'init': str(base)}
    every = training.configs(folder / 'packed', folder / 'xla', **knobs)
    stages.run('train', [c.T5Config() if type(x) is c.T5Config else x for x in every], folder / 'm')
    return folder / 'm'


def answers(folder, data, mode, right):
    """The teacher's predictions of a domain, of which the first `right` are."""
    rows = labelled.read_rows(data, c.ZeroShotConfig(mode=mode))
    folder.mkdir()
    told = [
        Prediction(row.id, row.sentence, (row.gold or '') if i < right else '')
        for i, row in enumerate(rows)
    ]
    write_jsonl(folder / 'predictions.jsonl', told)
    return str(folder), len(rows)


@pytest.fixture(scope='module')
def matrix(world, tmp_path_factory):
    """(output, config, rows of the teacher's classification): a run that is finished."""
    folder = tmp_path_factory.mktemp('matrix')
    training.noise(folder / 'base', Vocabulary(world / 'vocabulary'))
    data = {name: world / 'fsa' / 'atsa' / f'lab_{name}' for name in ('restaurant', 'hotel')}
    labels, count = answers(folder / 'labels', data['hotel'], 'aspect', 6)
    config = c.CrossDomainConfig(
        models={
            'base': str(folder / 'base'),
            'student': str(distil(folder, world, folder / 'base')),
        },
        teacher={
            'classification/hotel': labels,
            'extraction/hotel': answers(folder / 'pairs', data['hotel'], 'extract', 100)[0],
        },
        domains={name: str(path) for name, path in data.items()},
        seen=('restaurant',),
        fine_tune_on=('restaurant',),
        epochs=1.0,
        bootstrap=20,
        note='noise',
    )
    stages.run('cross-domain', [config], folder / 'out')
    return folder / 'out', config, count


def found(output):
    return json.loads((output / 'matrix.json').read_text())


def test_every_system_has_its_cells(matrix):
    output, _, count = matrix
    content = found(output)
    assert content['domains'] == {'restaurant': {'seen': True}, 'hotel': {'seen': False}}
    assert content['note'] == 'noise'
    cells = {(x['system'], x['measure'], x['trained_on'], x['domain']): x for x in content['cells']}
    expected = {
        (system, measure, source, domain)
        for system in ('base', 'student')
        for measure, source in (*((m, '') for m in MEASURES), ('fine-tuned', 'restaurant'))
        for domain in ('restaurant', 'hotel')
    } | {('teacher', measure, '', 'hotel') for measure in MEASURES}
    assert cells.keys() == expected
    assert len(content['cells']) == len(expected) == manifest.read(output)['counts']['cells']
    for cell in cells.values():
        assert 0 <= cell['value'] <= 1
        assert cell['interval'][0] <= cell['value'] <= cell['interval'][1]
    assert cells['teacher', 'classification', '', 'hotel']['value'] == pytest.approx(6 / count)
    assert cells['teacher', 'extraction', '', 'hotel']['value'] == 1.0


def test_a_cell_is_what_its_predictions_score(matrix, tmp_path):
    """`fsa score` gives the transfer cell's F1 of the very predictions that lie there."""
    output, config, _ = matrix
    domain = Path(config.domains['hotel'])
    rows = labelled.read_rows(domain, c.ZeroShotConfig(mode='extract', name='x'))
    told = [
        json.loads(line)['prediction']
        for line in (output / 'transfer/student/restaurant/hotel/predictions.jsonl').open()
    ]
    with manifest.output(tmp_path / 'scored', 'predict', []) as out:
        judged = [
            Prediction(
                row.id, row.sentence, text, task='x', metric='atsa', gold=row.gold,
                subsets=row.subsets,
            )
            for row, text in zip(rows, told, strict=True)
        ]  # fmt: skip
        write_jsonl(out.folder / 'predictions.jsonl', judged)
    score = c.ScoreConfig(predictions=str(tmp_path / 'scored'), bootstrap=0)
    stages.run('score', [score], tmp_path / 's')
    f1 = json.loads((tmp_path / 's/scores.json').read_text())['tasks']['x']['subsets']['normal']
    (cell,) = (
        x
        for x in found(output)['cells']
        if (x['system'], x['measure'], x['domain']) == ('student', 'fine-tuned', 'hotel')
    )
    assert cell['value'] == f1['f1']


def test_a_stopped_run_does_only_what_is_left(matrix, monkeypatch):
    """As after a kill: no manifest, and one cell is not there."""
    output, config, _ = matrix
    before = found(output)
    with pytest.raises(manifest.AlreadyDone):
        stages.run('cross-domain', [config], output)
    (output / manifest.MANIFEST).unlink()
    job = {'stage': 'cross-domain', 'knobs': manifest.knobs([config])}
    (output / manifest.UNFINISHED).write_text(json.dumps(job))
    (output / 'zero-shot/student/hotel/classification.jsonl').unlink()
    ran, judged = [], []
    run, judge = stages.run, cross_domain.zero_shot.judge

    def counted(name, *given, **options):
        run(name, *given, **options)
        ran.append(name)

    def seen(student, rows, settings):
        judged.append(settings.mode)
        return judge(student, rows, settings)

    monkeypatch.setattr(stages, 'run', counted)
    monkeypatch.setattr(cross_domain.zero_shot, 'judge', seen)
    run('cross-domain', [config], output)
    assert (ran, judged) == ([], ['aspect'])
    assert found(output)['cells'] == before['cells']

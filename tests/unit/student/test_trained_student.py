"""A small student that has learnt its task: two seeds that trained together, for categories."""

import json

import numpy as np
import pytest

import fsa_jax
from fsa_jax import configs as c
from fsa_jax import stages, text_format
from fsa_jax.errors import UserError
from fsa_jax.evaluate import f1
from fsa_jax.student.calibration import FILE
from tests import training

SEEDS = (3, 7)
TEXTS = training.sentences(60, seed=99)
SENTENCES = [text for text, _ in TEXTS]
GOLDS = [' ; '.join(dict.fromkeys(target.split(' ; '))) for _, target in TEXTS]


@pytest.fixture(scope='module')
def packed(tmp_path_factory, tiny_spiece):
    folder = tmp_path_factory.mktemp('packed') / 'p'
    return training.pack(folder, tiny_spiece, {'t': 'acsa'}, train=400)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, packed, cache):
    knobs = {'steps': 300, 'evaluate_every': 150, 'tensorboard': False, 'log_every': 50}
    folder = tmp_path_factory.mktemp('trained') / 'run'
    return training.train(packed, folder, cache, seeds=SEEDS, **knobs)


@pytest.fixture(scope='module')
def students(trained):
    return {seed: fsa_jax.Student.from_pretrained(trained, seed=seed) for seed in SEEDS}


def score(found):
    written = [text_format.join((o.category, o.polarity) for o in one.opinions) for one in found]
    return f1.score('acsa', written, GOLDS, SENTENCES)


@pytest.mark.parametrize('seed', SEEDS)
def test_constrained_categories_of_a_student_that_learnt_them(students, seed):
    """Free it finds most pairs; with the inventory it loses none, and writes nothing else."""
    free = students[seed].extract(SENTENCES, 'acsa')
    bound = students[seed].extract(SENTENCES, 'acsa', constrained=True, categories=training.TARGETS)
    assert score(free).f1 > 0.6
    assert score(bound).f1 >= score(free).f1 - 0.02
    assert {o.category for one in bound for o in one.opinions} <= {*training.TARGETS}
    assert not any({'malformed', 'cut'} & {*one.flags} for one in bound)


def test_an_inventory_is_all_that_may_be_written(students):
    """Without the category that a sentence is about, the pair is about another one, or there is none."""
    few = [name for name in training.TARGETS if name != 'food']
    told = [s for s in SENTENCES if 'food' in s]
    found = students[3].extract(told, 'acsa', constrained=True, categories=few)
    free = students[3].extract(told, 'acsa')
    assert any(o.category == 'food' for one in free for o in one.opinions)
    assert {o.category for one in found for o in one.opinions} <= {*few}


def test_a_seed_is_what_predict_says_of_it(students, trained, tmp_path):
    """Its own student, not the other's; `fsa predict` with that seed writes the same."""
    (tmp_path / 'in.txt').write_text('\n'.join(SENTENCES))
    for seed, student in students.items():
        config = c.PredictConfig(
            model=str(trained), seed=seed, input=str(tmp_path / 'in.txt'), metric='acsa',
            constrained=True, categories=training.TARGETS,
        )  # fmt: skip
        stages.run(
            'predict', (config, c.DecodeConfig(), c.MeshConfig(data=1)), tmp_path / str(seed)
        )
        lines = (tmp_path / str(seed) / 'predictions.jsonl').read_text().splitlines()
        found = student.extract(SENTENCES, 'acsa', constrained=True, categories=training.TARGETS)
        assert [json.loads(x)['prediction'] for x in lines] == [''.join(o.generated) for o in found]
    first, second = (
        [o.confidence for one in s.extract(SENTENCES, 'acsa') for o in one.opinions]
        for s in students.values()
    )
    assert first != second
    with pytest.raises(UserError, match='one is needed: none was named'):
        fsa_jax.Student.from_pretrained(trained)


def test_a_calibration_is_of_one_seed(students, packed, trained):
    config = c.CalibrateConfig(
        model=str(trained), seed=3, data=str(packed), split='train', constrained=True,
        categories=training.TARGETS,
    )  # fmt: skip
    folder = trained / 'seed-3' / 'calibration'
    stages.run('calibrate', [config], folder)
    told = json.loads((folder / FILE).read_text())['acsa']
    assert 0 < told['right'] < told['opinions']
    raw, scaled = students[3], fsa_jax.Student.from_pretrained(trained, seed=3)
    before, after = (
        [o for one in s.extract(SENTENCES, 'acsa') for o in one.opinions] for s in (raw, scaled)
    )
    assert all(o.calibrated for o in after)
    assert not np.allclose([o.confidence for o in before], [o.confidence for o in after])
    other = fsa_jax.Student.from_pretrained(trained, seed=7).extract(SENTENCES, 'acsa')
    assert not any(o.calibrated for one in other for o in one.opinions)

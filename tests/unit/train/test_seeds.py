"""Seeds that train together: each is its run alone, the best are kept, and any can be taken out."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsa_jax import manifest, stages
from fsa_jax.configs import ExportConfig, ImportConfig, TrainConfig
from fsa_jax.errors import UserError
from fsa_jax.train.checkpoint import open_model
from fsa_jax.train.state import GroupState, TrainState
from tests import training

SEEDS = (42, 52, 62)
KNOBS = {'steps': 0, 'epochs': 4.0, 'evaluate_examples': 0, 'tensorboard': False}


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp('xla')


@pytest.fixture(scope='module')
def packed(tmp_path_factory, tiny_spiece):
    return training.pack(tmp_path_factory.mktemp('packed') / 'p', tiny_spiece)


@pytest.fixture(scope='module')
def group(packed, cache, tmp_path_factory):
    output = tmp_path_factory.mktemp('group') / 'run'
    return training.train(packed, output, cache, seeds=SEEDS, **KNOBS)


@pytest.fixture(scope='module')
def alone(packed, cache, tmp_path_factory):
    """{seed: the folder of its run alone}"""
    folders = {}
    for seed in SEEDS[:2]:
        *configs, mesh, decode = training.configs(packed, cache, **KNOBS)
        configs = [c.replace(seed=seed) if hasattr(c, 'seed') else c for c in configs]
        folders[seed] = tmp_path_factory.mktemp('alone') / str(seed)
        stages.run('train', (*configs, mesh, decode), folders[seed])
    return folders


def rows(folder, name):
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    return [row for row in map(json.loads, lines) if name in row]


@pytest.mark.parametrize('seed', SEEDS[:2])
def test_the_losses_of_a_seed_are_those_of_its_run_alone(group, alone, seed):
    """With dropout: order, start and masks are the same."""
    expected = [row['loss'] for row in rows(alone[seed], 'loss')]
    found = [row['loss'] for row in rows(group / f'seed-{seed}', 'loss')]
    assert len(found) == len(expected) == 24
    assert found[:20] == pytest.approx(expected[:20], rel=1e-5)
    others = [row['loss'] for row in rows(alone[SEEDS[SEEDS.index(seed) ^ 1]], 'loss')]
    assert found[:20] != pytest.approx(others[:20], rel=1e-2)


@pytest.mark.parametrize('seed', SEEDS[:2])
def test_the_best_of_a_seed_is_that_of_its_run_alone(group, alone, seed):
    ours, theirs = open_model(group), open_model(alone[seed])
    evaluations = rows(group / f'seed-{seed}', 'validation/f1')
    assert [row['step'] for row in evaluations] == [6, 12, 18, 24]
    expected = [row['validation/f1'] for row in rows(alone[seed], 'validation/f1')]
    assert [row['validation/f1'] for row in evaluations] == pytest.approx(expected, abs=0.02)
    assert ours.step(seed=seed) == theirs.step('best')
    for a, b in zip(*map(jax.tree.leaves, (ours.load_params(seed=seed), theirs.load_params()))):
        assert np.linalg.norm(a - b) < 1e-3 * np.linalg.norm(b)


def test_the_manifest_names_the_group(group):
    counts = manifest.read(group)['counts']
    assert counts['seeds'] == list(SEEDS)
    assert set(counts['best']) == {str(seed) for seed in SEEDS}
    assert counts['metric'] == 'validation/f1'


def test_export_takes_one_seed_out(group, tmp_path):
    stages.run('export', (ExportConfig(model=str(group), seed=52),), tmp_path / 'hf')
    stages.run('import', (ImportConfig(folder=str(tmp_path / 'hf')),), tmp_path / 'again')
    ours, theirs = (
        open_model(group).load_params(seed=52),
        open_model(tmp_path / 'again').load_params(),
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))
    other = open_model(group).load_params(seed=62)
    assert not jax.tree.all(jax.tree.map(np.array_equal, ours, other))


def test_a_seed_has_to_be_named(group, alone):
    model = open_model(group)
    with pytest.raises(UserError, match='seeds 42, 52, 62, of which one is needed: none was named'):
        model.load_params()
    with pytest.raises(UserError, match='got 7'):
        model.load_params(seed=7)
    with pytest.raises(UserError, match='best of each seed alone'):
        model.load_params('latest', seed=42)
    with pytest.raises(UserError, match='model of one seed'):
        open_model(alone[42]).load_params(seed=42)


def test_a_killed_group_resumes_at_its_epoch(packed, cache, group, tmp_path, monkeypatch):
    """The second run begins at the last evaluated epoch, and ends where one run does."""
    from fsa_jax.train import seeds_loop

    offer = seeds_loop.ranked
    calls = []

    def dies(values, metric):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return offer(values, metric)

    monkeypatch.setattr(seeds_loop, 'ranked', dies)
    with pytest.raises(KeyboardInterrupt):
        training.train(packed, tmp_path / 'run', cache, seeds=SEEDS, **KNOBS)
    training.train(packed, tmp_path / 'run', cache, seeds=SEEDS, **KNOBS)
    assert len(calls) == 3 + 2
    for seed in SEEDS:
        ours, theirs = (open_model(f).load_params(seed=seed) for f in (tmp_path / 'run', group))
        assert jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))
        written = [rows(f / f'seed-{seed}', 'loss') for f in (tmp_path / 'run', group)]
        assert [r['loss'] for r in written[0]] == [r['loss'] for r in written[1]]


def test_only_a_strictly_better_evaluation_is_kept():
    state = GroupState.create(TrainState(jnp.int32(5), {'w': jnp.zeros((3, 2))}, ()))
    after = TrainState(jnp.int32(6), {'w': jnp.ones((3, 2))}, ())
    first = GroupState(after, state.best, state.best_value, state.best_step)
    first = first.offer(jnp.array([0.5, 0.5, jnp.nan]))
    assert first.best['w'].tolist() == [[1, 1], [1, 1], [0, 0]]
    later = TrainState(jnp.int32(7), {'w': jnp.full((3, 2), 2.0)}, ())
    second = GroupState(later, first.best, first.best_value, first.best_step)
    second = second.offer(jnp.array([0.5, 0.6, 0.1]))
    assert second.best['w'].tolist() == [[1, 1], [2, 2], [2, 2]]
    assert second.best_step.tolist() == [6, 7, 7]


def test_what_does_not_fit_several_seeds_is_said(packed, cache, tmp_path):
    for knobs, message in (
        ({'layout': 'packed'}, "needs RowsConfig.layout='pairs'"),
        ({'validation_split': ''}, 'need a validation split and a metric'),
        ({'method': 'beam'}, 'evaluated greedily'),
    ):
        with pytest.raises(UserError, match=message):
            training.train(packed, tmp_path / 'run', cache, seeds=SEEDS, **KNOBS | knobs)
    with pytest.raises(UserError, match='must differ'):
        TrainConfig(seeds=(1, 1))

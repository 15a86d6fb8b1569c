"""Seeds that train together: each is its run alone, the best are kept, and any can be taken out."""

import errno
import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from fsa_jax import cli, flops, manifest, stages
from fsa_jax.configs import ImportConfig, TrainConfig
from fsa_jax.errors import UserError
from fsa_jax.partition import Partition
from fsa_jax.train import seeds_loop
from fsa_jax.train.checkpoint import open_model
from fsa_jax.train.feed import Feed
from fsa_jax.train.goodput import KINDS
from fsa_jax.train.job import prepare
from fsa_jax.train.state import GroupState, TrainState
from fsa_jax.train.watchdog import Watchdog
from tests import training

SEEDS = (42, 52, 62)
KNOBS = {'steps': 0, 'epochs': 4.0, 'evaluate_examples': 0, 'tensorboard': False}


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
    export = ['export', f'--gin.ExportConfig.model={group}', '--seed=52']
    assert cli.main([*export, f'--output={tmp_path / "hf"}']) == 0
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
    with pytest.raises(UserError, match='best of each seed alone'):
        model.load_params('24', seed=42)
    with pytest.raises(UserError, match='model of one seed'):
        open_model(alone[42]).load_params(seed=42)


class Died(BaseException):
    """Stands for a kill: nothing handles it."""


def kill(monkeypatch, where, name, call):
    """Makes the `call`th call of a function die; returns the list of its calls."""
    function, calls = getattr(where, name), []

    def dies(*arguments, **knobs):
        calls.append(arguments)
        if len(calls) == call:
            raise Died
        return function(*arguments, **knobs)

    monkeypatch.setattr(where, name, dies)
    return calls


def assert_same_group(run, unbroken):
    for seed in SEEDS:
        ours, theirs = (open_model(f).load_params(seed=seed) for f in (run, unbroken))
        assert jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))
        lines = [
            (f / f'seed-{seed}' / 'metrics.jsonl').read_text().splitlines() for f in (run, unbroken)
        ]
        written = [training.comparable([json.loads(x) for x in of_run]) for of_run in lines]
        assert written[0] == written[1]
    assert manifest.read(run)['counts'] == manifest.read(unbroken)['counts']


def test_a_killed_group_resumes_at_its_epoch(packed, cache, group, tmp_path, monkeypatch):
    """The second run begins at the last evaluated epoch, and ends where one run does."""
    calls = kill(monkeypatch, seeds_loop, 'ranked', 3)
    with pytest.raises(Died):
        training.train(packed, tmp_path / 'run', cache, seeds=SEEDS, **KNOBS)
    training.train(packed, tmp_path / 'run', cache, seeds=SEEDS, **KNOBS)
    assert len(calls) == 3 + 2
    assert_same_group(tmp_path / 'run', group)


def test_a_finished_group_keeps_its_best_alone(group):
    kept = list((group / 'checkpoints').iterdir())
    assert {step.name for step in kept} == {'18', '24'}
    for step in kept:
        assert {p.name for p in step.iterdir() if p.is_dir()} == {'params', 'checksums'}
    assert not (group / '.training').exists()


@pytest.fixture(scope='module')
def at_its_end(packed, cache, tmp_path_factory):
    """A group that was killed after its last checkpoint, before it dropped anything."""
    output = tmp_path_factory.mktemp('end') / 'run'
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, seeds_loop.GroupTraining, '_drop_training', 1)
        with pytest.raises(Died):
            training.train(packed, output, cache, seeds=SEEDS, **KNOBS)
    return output


@pytest.mark.parametrize('killed', ['before', 'between', 'after'])
def test_a_group_killed_while_it_finishes_is_finished_by_the_next_start(
    packed, cache, group, at_its_end, tmp_path, monkeypatch, killed
):
    """Before, between and after the two steps in which it drops what it needs no longer."""
    run = shutil.copytree(at_its_end, tmp_path / 'run')
    if killed == 'between':
        (run / 'checkpoints' / '24' / 'training').rename(run / '.training')
    if killed == 'after':
        shutil.rmtree(run / 'checkpoints' / '24' / 'training')
    steps = kill(monkeypatch, seeds_loop.GroupTraining, '_step', 0)
    training.train(packed, run, cache, seeds=SEEDS, **KNOBS)
    assert not steps  # nothing is trained again
    assert not (run / '.training').exists()
    assert not list((run / 'checkpoints').glob('*/training'))
    assert_same_group(run, group)


def test_on_a_full_disk_a_group_goes_on_with_the_last_good_checkpoint(
    packed, cache, group, tmp_path, monkeypatch, capsys
):
    """The disk is full at the third epoch, and again at the last."""
    save = ocp.CheckpointManager.save

    def fails(self, step, **knobs):
        if step in (18, 24):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, step, **knobs)

    output = tmp_path / 'run'
    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, 'save', fails)
        with pytest.raises(UserError, match='step 24, the last, could not be saved: make room'):
            training.train(packed, output, cache, seeds=SEEDS, **KNOBS)
    assert 'checkpoint 18 was not saved: no space is left' in capsys.readouterr().err
    assert open_model(output).group['best'].keys() == {str(seed) for seed in SEEDS}
    # seeds.json is of the checkpoint that is there, not of those that are not
    assert all(best['step'] <= 12 for best in open_model(output).group['best'].values())
    training.train(packed, output, cache, seeds=SEEDS, **KNOBS)
    assert_same_group(output, group)


def test_a_group_has_the_clocks_and_the_watchdog_of_a_run_alone(
    packed, cache, tmp_path, monkeypatch
):
    beats, said = [], []
    monkeypatch.setattr(Watchdog, 'beat', lambda self, what: beats.append(what))
    write_atomic = seeds_loop.write_atomic
    monkeypatch.setattr(
        seeds_loop, 'write_atomic', lambda *x: said.append(x[1]) or write_atomic(*x)
    )
    knobs = KNOBS | {'epochs': 1.0, 'profile_steps': (2, 3), 'save_minutes': 1e-9}
    run = training.train(packed, tmp_path / 'run', cache, seeds=SEEDS, **knobs)
    assert list((run / 'profile').rglob('*.xplane.pb'))
    expected = {f'step {n}' for n in range(1, 7)} | {f'saving step {n}' for n in range(1, 7)}
    assert expected | {'a batch of an evaluation'} == set(beats)
    # saved before the first evaluation too, when no seed has a best yet; JSON knows no infinity
    told = [json.loads(text, parse_constant=pytest.fail)['best']['42']['value'] for text in said]
    assert told[0] is None
    assert told[-1] is not None
    written = [rows(run / f'seed-{seed}', 'loss') for seed in SEEDS]
    for row in written[0]:
        assert sum(row[f'goodput/{kind}'] for kind in KINDS) == pytest.approx(1)
    last = [{k: v for k, v in row[-1].items() if 'goodput/' in k} for row in written]
    assert last[0]['goodput/evaluation'] == 0 < last[0]['goodput/compile']
    assert last[0] == last[1] == last[2]
    one = flops.train_step(open_model(run).config, 16, *shape(packed))
    rate = written[0][-1]['model_flops_per_second'] / written[0][-1]['pairs_per_second']
    assert rate == pytest.approx(one / 16, rel=1e-4)


def shape(packed):
    """(encoder slots, decoder slots) of every batch."""
    every = training.configs(packed, packed, **KNOBS)
    job = prepare(*every[:4], Partition.from_config(every[4]), every[5])
    return Feed(job.rows, job.partition).at(0).shape[1:]


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

"""Several processes as one run: real processes, real kills.

Every run here is of one small student on one packed folder.
"""

import json
import shutil
import signal

import jax
import numpy as np
import pytest

from fsa_jax import manifest
from fsa_jax.hosts import EXIT_HUNG
from fsa_jax.train import checkpoint
from fsa_jax.train.checkpoint import open_model
from tests import training
from tests.processes import KNOBS, World, after_a_save, fsa

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope='module')
def world(tmp_path_factory, tiny_spiece):
    return World(tmp_path_factory.mktemp('processes'), tiny_spiece)


@pytest.fixture(scope='module')
def one(world):
    return world.finish('one', 1, 8)


@pytest.fixture(scope='module')
def two(world):
    return world.finish('two', 2, 4)


LONG = '--gin.TrainConfig.steps=60'  # time for a signal


@pytest.fixture(scope='module')
def pair(world):
    """Two processes of one device each, which is quicker, and longer, for those that are killed."""
    return world.finish('pair', 2, 1, LONG)


def rows(folder):
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def losses(folder):
    return [row['loss'] for row in rows(folder) if 'loss' in row]


def assert_same_run(folder, other):
    """Bitwise, but for what a clock measured."""
    a, b = (open_model(f).load_params('latest') for f in (folder, other))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert training.comparable(rows(folder)) == training.comparable(rows(other))


# -- the same run ----------------------------------------------------------------------------------


def test_the_first_20_losses_of_2_processes_are_those_of_one(one, two):
    assert len(losses(one)) == 20
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)


def test_the_first_20_losses_of_4_processes_are_those_of_one(world, one):
    assert losses(world.finish('four', 4, 1)) == pytest.approx(losses(one), rel=1e-5)


def test_one_process_writes_what_is_written_once(two):
    assert manifest.read(two)['counts']['devices'] == 8
    manifest.verify(two)
    assert [row['step'] for row in rows(two)] == list(range(1, 21))
    pairs = {row['step']: row['pairs'] for row in rows(two)}
    assert all(row['goodput/wall_seconds'] > 0 for row in rows(two))
    assert sum(pairs.values()) > 20 * 16  # of all processes: packed rows hold several


def test_a_checkpoint_of_2_x_4_devices_is_restored_on_8_and_on_1(world, two):
    with fsa(
        [world.folder / 'run.gin', two], world.folder / 'restore.logs', 1, 8,
        module='tests.system.restore_job',
    ) as group:  # fmt: skip
        assert group.wait() == [0], group.log()[-3000:]
        assert 'step 20 over 8 devices and over 1: equal' in group.log()


def predicted(world, model, processes, *more):
    """What `fsa predict` says of the validation pairs, in so many processes."""
    output = world.folder / f'predictions-{model.name}-{processes}'
    knobs = {
        'PredictConfig.model': model, 'PredictConfig.data': world.packed,
        'PredictConfig.split': 'validation', 'PredictConfig.chunk': 6,
        'PredictConfig.compilation_cache': world.folder / 'xla',
        'DecodeConfig.max_new_tokens': 8,
    }  # fmt: skip
    given = [*(f'--gin.{k}={v}' for k, v in knobs.items()), *more, f'--output={output}']
    with fsa(['predict', *given], output.with_suffix('.logs'), processes, 2) as group:
        assert group.wait() == [0] * processes, group.log()[-3000:]
    return (output / 'predictions.jsonl').read_bytes()


def test_predictions_of_2_processes_are_those_of_one(world, two):
    made = predicted(world, two, 1)
    assert predicted(world, two, 2) == made
    assert len(made.splitlines()) == 16


SHAPE = ('d_model', 'd_kv', 'd_ff', 'num_layers', 'num_decoder_layers')
IN_HERE = {name: KNOBS[name] for name in SHAPE} | {'tensorboard': False, 'log_every': 50}


@pytest.fixture(scope='module')
def learned(world):
    """A student of the shape of all runs here that says some things right."""
    knobs = {'steps': 100, 'batch_size': 32, 'learning_rate': 1e-2, 'validation_split': ''}
    return training.train(
        world.packed, world.folder / 'learned', world.folder / 'xla', **IN_HERE, **knobs
    )


def test_2_processes_read_one_seed_of_several(world):
    few = {'seeds': (1, 2), 'steps': 2}
    seeds = training.train(
        world.packed, world.folder / 'seeds', world.folder / 'xla', **IN_HERE, **few
    )
    one, two = (predicted(world, seeds, n, '--gin.PredictConfig.seed=2') for n in (1, 2))
    assert two == one


def test_an_init_gets_other_padding_on_4_devices_of_1_and_2_processes(world, learned):
    knobs = {
        'TrainConfig.init': learned, 'TrainConfig.steps': 2, 'T5Config.vocab_padding': 2,
        'MeshConfig.preset': 'fsdp_tp', 'MeshConfig.fsdp': 2, 'MeshConfig.tensor': 2,
    }  # fmt: skip
    more = [f'--gin.{k}={v}' for k, v in knobs.items()]
    one, two = (world.finish(f'padded-{n}', n, 4 // n, *more) for n in (1, 2))
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)


def test_the_best_by_f1_of_2_processes_is_that_of_one(world, learned):
    knobs = {
        'TrainConfig.init': learned, 'TrainConfig.steps': 4, 'TrainConfig.evaluate_every': 2,
        'TrainConfig.validation_split': 'validation', 'TrainConfig.keep': 1,
    }  # fmt: skip
    more = [f'--gin.{k}={v}' for k, v in knobs.items()]
    one, two = (world.finish(f'judged-{n}', n, 2 // n, *more) for n in (1, 2))
    expected, found = ([r for r in rows(f) if 'validation/f1' in r] for f in (one, two))
    assert [r['step'] for r in found] == [2, 4]
    assert 0 < expected[0]['validation/f1'] < 1
    for ours, theirs in zip(found, expected):
        assert ours['validation/f1'] == theirs['validation/f1']
        assert ours['validation/loss'] == pytest.approx(theirs['validation/loss'], rel=1e-5)
    best = checkpoint.read_best(two)
    assert best == checkpoint.read_best(one)
    assert checkpoint.steps(two) == sorted({best['step'], 4})


# -- killed, stopped, damaged ----------------------------------------------------------------------


def test_killed_then_stopped_the_run_ends_as_if_nothing_had_happened(world, pair):
    """Saved by minutes, of which process 0's clock decides. kill -9 of process 1 ends process 0 as
    well; SIGTERM to process 1 alone stops both after the same step."""
    often = [LONG, '--gin.TrainConfig.save_every=0', '--gin.TrainConfig.save_minutes=0.002']
    folder = world.folder / 'broken'
    soon = '--gin.DistributedConfig.heartbeat_seconds=15'  # by default process 0 waits 100 s for signs of life
    with world.train('broken', 2, 1, *often, soon) as group:
        after_a_save(group, folder)
        group.processes[1].send_signal(signal.SIGKILL)
        assert group.wait()[0] not in (0, None)
    killed_at = checkpoint.steps(folder)
    assert killed_at
    assert killed_at[-1] < 60
    with world.train('broken', 2, 1, *often) as group:
        after_a_save(group, folder, killed_at)
        group.processes[1].send_signal(signal.SIGTERM)
        assert group.wait() == [143, 143], group.log()[-3000:]
        assert 'stopped by SIGTERM after step' in group.log()
    assert killed_at[-1] < checkpoint.steps(folder)[-1] == rows(folder)[-1]['step'] < 60
    world.finish('broken', 2, 1, LONG)
    assert_same_run(folder, pair)


def test_a_checkpoint_that_one_process_cannot_read_gives_way_to_the_one_before(world, pair):
    """What process 1 wrote of the newest is lost: process 0 can read its own part of every array."""
    folder = world.folder / 'damaged'
    shutil.copytree(pair, folder)
    (folder / manifest.MANIFEST).unlink()
    fixed = manifest.read(pair)['knobs']
    (folder / manifest.UNFINISHED).write_text(json.dumps({'stage': 'train', 'knobs': fixed}))
    cut = [*(folder / 'checkpoints' / '60').rglob('ocdbt.process_1/d/*')]
    assert cut
    for path in cut:
        path.write_bytes(b'')
    with world.train('damaged', 2, 1, LONG) as group:
        assert group.wait() == [0, 0], group.log()[-3000:]
        assert 'checkpoint 60 is damaged' in group.log()
        assert 'resuming from checkpoint 50' in group.log()
    assert_same_run(folder, pair)


def test_a_process_that_hangs_ends_all_with_their_stacks(world):
    with world.train(
        'hung', 2, 1, '--gin.TrainConfig.hang_minutes=0.2',
        module='tests.system.hanging_job',
    ) as group:  # fmt: skip
        assert group.wait(300) == [EXIT_HUNG, EXIT_HUNG], group.log()[-3000:]
        log = group.log()
    assert 'it hangs (TrainConfig.hang_minutes=0.2)' in log
    assert 'hanging_at' in log.partition('process 1:')[2]  # where process 1 is, in process 0's log


# -- what is refused -------------------------------------------------------------------------------


def test_a_process_with_another_config_is_refused(world):
    each = ([], ['--gin.TrainConfig.seed=43'])
    with world.train('other', 2, 1, each=each) as group:
        assert group.wait() == [2, 2]
        for number in range(2):
            assert 'process 1 has another config than process 0: TrainConfig.seed' in group.log(
                number
            )
    assert not (world.folder / 'other').exists()


def test_a_process_with_another_corpus_is_refused(world, tiny_spiece):
    """The same path on two hosts, with other data."""
    for number, pairs in enumerate((400, 399)):
        training.pack(world.folder / f'host-{number}' / 'data', tiny_spiece, train=pairs)
    with world.train(
        'corpus', 2, 1, '--gin.TrainConfig.data=data',
        folders=[world.folder / f'host-{number}' for number in range(2)],
    ) as group:  # fmt: skip
        assert group.wait() == [2, 2], group.log()
        assert (
            'process 1 has another input than process 0: the sha256 of TrainConfig.data'
            in group.log()
        )
    assert not (world.folder / 'corpus').exists()

"""A training process that is killed, and one that is asked to stop: real processes, real signals."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from fsa_jax.configs import to_gin
from fsa_jax.train import checkpoint
from fsa_jax.train.checkpoint import open_model
from tests import training
from tests.conftest import REPOSITORY

# Some 0.1 s a step, so that a signal sent after step 5 arrives before step 10.
KNOBS = {'steps': 10, 'save_every': 5, 'batch_size': 64, 'microbatches': 8, 'keep': 3}
KNOBS |= {'layout': 'packed', 'encoder_length': 64, 'decoder_length': 64, 'validation_split': ''}
KNOBS |= training.SMALLEST | {'tensorboard': False}


@pytest.fixture(scope='module')
def world(tmp_path_factory, tiny_spiece):
    """A folder with a gin file, and the finished run that was left alone."""
    folder = tmp_path_factory.mktemp('kill')
    packed = training.pack(folder / 'packed', tiny_spiece, train=2000)
    (folder / 'run.gin').write_text(to_gin(training.configs(packed, folder / 'xla', **KNOBS)))
    assert start(folder, 'unbroken').wait(timeout=300) == 0
    return folder


def start(folder, name, log=None):
    """`fsa train` as a process of its own; with a log, it says there what it compiles."""
    command = [sys.executable, '-m', 'fsa_jax.cli', 'train', f'--gin_file={folder / "run.gin"}']
    return subprocess.Popen(
        [*command, f'--output={folder / name}'],
        cwd=REPOSITORY,
        env=os.environ | {'HOME': str(folder), 'JAX_LOG_COMPILES': '1' if log else '0'},
        stderr=log,
    )


def signal_after_step_5(folder, name, number):
    """Starts a run, sends it a signal when step 5 is on disk, and returns its exit status."""
    process = start(folder, name)
    try:
        deadline = time.monotonic() + 300
        while not checkpoint.steps(folder / name):
            assert process.poll() is None, 'ended before step 5'
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        return process.wait(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def metrics(folder):
    """The rows of metrics.jsonl without what a clock measured."""
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    return training.comparable([json.loads(line) for line in lines])


def assert_same_run(folder, name):
    a, b = (open_model(folder / run).load_params('latest') for run in (name, 'unbroken'))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert metrics(folder / name) == metrics(folder / 'unbroken')


def test_kill_9_and_restart_is_bitwise_the_unbroken_run(world):
    assert signal_after_step_5(world, 'killed', signal.SIGKILL) == -signal.SIGKILL
    assert checkpoint.steps(world / 'killed') == [5]
    with open(world / 'killed' / 'metrics.jsonl', 'a') as file:
        file.write('{"step": 9, "loss": 1.0}\n{"step": 10, "lo')  # beyond step 5, and torn
    with open(world / 'log', 'w') as log:
        assert start(world, 'killed', log).wait(timeout=300) == 0
    # what an earlier process compiled is read from the persistent cache
    assert "Persistent compilation cache hit for 'jit_train_step'" in (world / 'log').read_text()
    assert [row['step'] for row in metrics(world / 'killed')] == list(range(1, 11))
    assert_same_run(world, 'killed')


@pytest.fixture(scope='module')
def stopped(world):
    """A run that was sent SIGTERM after step 5."""
    assert signal_after_step_5(world, 'stopped', signal.SIGTERM) == 143
    return world / 'stopped'


def test_sigterm_saves_and_exits_143(world, stopped):
    saved = checkpoint.steps(stopped)
    assert saved[0] == 5
    assert saved[-1] in (6, 7, 8, 9)
    assert metrics(stopped)[-1]['step'] == saved[-1]  # nothing done is lost
    shutil.copytree(stopped, world / 'resumed')
    assert start(world, 'resumed').wait(timeout=300) == 0
    assert_same_run(world, 'resumed')


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(world, stopped):
    shutil.copytree(stopped, world / 'damaged')
    newest = world / 'damaged' / 'checkpoints' / str(checkpoint.steps(stopped)[-1])
    for path in newest.rglob('d/*'):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert start(world, 'damaged').wait(timeout=300) == 0
    assert newest.with_name(f'{newest.name}.damaged').is_dir()
    assert_same_run(world, 'damaged')

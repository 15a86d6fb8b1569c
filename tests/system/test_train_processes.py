"""Several processes as one run: real processes, real kills.

Every run here is of one small student on one packed folder; the programs are compiled once for each
number of processes and kept in one cache.
"""

import json

import pytest

from fsa_jax.configs import to_gin
from tests import training
from tests.processes import fsa

pytestmark = pytest.mark.timeout(900)

KNOBS = {
    'd_model': 16, 'd_kv': 8, 'd_ff': 32, 'num_layers': 1, 'num_decoder_layers': 1,
    'steps': 20, 'save_every': 10, 'layout': 'packed', 'encoder_length': 32, 'decoder_length': 32,
    'learning_rate': 1e-3, 'tensorboard': False, 'validation_split': '',
    'fsdp': 2, 'preset': 'fsdp',
}  # fmt: skip


class World:
    """A packed folder, and runs of `fsa train` on it."""

    def __init__(self, folder, spiece):
        self.folder = folder
        self.packed = training.pack(folder / 'packed', spiece, train=400)
        (folder / 'run.gin').write_text(
            to_gin(training.configs(self.packed, folder / 'xla', **KNOBS))
        )

    def train(self, name, processes, devices, *more, **options):
        """The processes of a run, as a context."""
        arguments = ['train', f'--gin_file={self.folder}/run.gin', f'--output={self.folder / name}']
        logs = self.folder / f'{name}.logs'
        return fsa([*arguments, *more], logs, processes, devices, **options)

    def finish(self, name, processes, devices, *more, **options):
        """Trains to the end; the folder of the run."""
        with self.train(name, processes, devices, *more, **options) as group:
            assert group.wait() == [0] * processes, group.log()[-3000:]
        return self.folder / name


@pytest.fixture(scope='module')
def world(tmp_path_factory, tiny_spiece):
    return World(tmp_path_factory.mktemp('processes'), tiny_spiece)


def metrics(folder):
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def losses(folder):
    return [row['loss'] for row in metrics(folder) if 'loss' in row]


@pytest.fixture(scope='module')
def one(world):
    return world.finish('one', 1, 4)


@pytest.fixture(scope='module')
def two(world):
    return world.finish('two', 2, 2)


def test_the_first_20_losses_of_2_processes_are_those_of_one(one, two):
    assert len(losses(one)) == 20
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)

"""Training on eight (fake) devices is training on one."""

import json
import subprocess
import sys

import pytest

from tests import training
from tests.conftest import REPOSITORY
from tests.processes import environment
from tests.system.devices_job import KNOBS, MESHES, SEEDS

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope='module')
def runs(tmp_path_factory, tiny_spiece):
    """The folders of a run on one device and, by preset, of runs on eight."""
    folder = tmp_path_factory.mktemp('devices')
    packed = training.pack(folder / 'packed', tiny_spiece, train=400)
    command = [sys.executable, '-m', 'tests.system.devices_job', packed, folder, folder / 'xla']
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment(8), capture_output=True, text=True, timeout=1100
    )
    assert done.returncode == 0, done.stderr[-3000:]
    training.train(packed, folder / 'one', folder / 'xla', **KNOBS)
    training.train(packed, folder / 'seeds_one', folder / 'xla', **SEEDS)
    return folder


def losses(folder):
    rows = map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
    return [row['loss'] for row in rows if 'loss' in row]


@pytest.mark.parametrize('preset', MESHES)
def test_the_first_20_losses_are_those_of_one_device(runs, preset):
    """With dropout: its masks do not depend on the mesh either."""
    expected = losses(runs / 'one')
    assert len(expected) == 20
    assert losses(runs / preset) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('seed', SEEDS['seeds'])
def test_seeds_over_devices_are_seeds_on_one(runs, seed):
    """The mesh is seed 4 x data 2."""
    expected = losses(runs / 'seeds_one' / f'seed-{seed}')
    assert len(expected) == 20
    assert losses(runs / 'seeds' / f'seed-{seed}') == pytest.approx(expected, rel=1e-5)

"""`fsa train --output=URL` on object stores: killed while it uploads, moved to an empty machine."""

import json
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from fsa_jax import manifest
from fsa_jax.configs import to_gin
from fsa_jax.mirror import FOLDERS, INDEX
from fsa_jax.train.checkpoint import open_model
from tests import object_stores, training
from tests.processes import KNOBS, environment, fsa

RARELY = '--gin.TrainConfig.save_every=30'
SLOW = KNOBS | {'steps': 60, 'save_every': 5, 'keep': 2, 'preset': 'dp'}


@pytest.fixture(scope='module')
def world(tmp_path_factory, tiny_spiece):
    """A folder with a gin file, and the run that was left alone on a local path."""
    folder = tmp_path_factory.mktemp('url')
    packed = training.pack(folder / 'packed', tiny_spiece, train=400)
    (folder / 'run.gin').write_text(to_gin(training.configs(packed, folder / 'xla', **SLOW)))
    with train(folder, folder / 'unbroken', folder / 'unbroken.logs') as group:
        assert group.wait() == [0], group.log()[-3000:]
    return folder


@pytest.fixture(scope='module', params=['s3', 'gcs'])
def server(request):
    with getattr(object_stores, request.param)() as server:
        yield server


def train(world, output, logs, *more, **variables):
    arguments = ['train', f'--gin_file={world}/run.gin', f'--output={output}', *more]
    return fsa(arguments, logs, **variables)


def on(server, folder, port=0):
    """The environment of a machine that works in a folder of its own."""
    return server.environment(port) | {FOLDERS: str(folder)}


def whole_steps(server, run):
    """The checkpoints of a run that are whole: Orbax says it on gs://, the index elsewhere."""
    if server.url.startswith('gs'):
        whole = re.compile(rf'{run}/checkpoints/(\d+)/commit_success.txt')
        return sorted(int(found[1]) for found in map(whole.fullmatch, server.names(run)) if found)
    content = server.read(f'{run}/{INDEX}')
    names = json.loads(content)['files'] if content else ()
    return sorted({int(name.split('/')[1]) for name in names if name.startswith('checkpoints/')})


def rows(folder):
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    return training.comparable([json.loads(line) for line in lines])


def assert_same_run(folder, other):
    a, b = (open_model(f).load_params('latest') for f in (folder, other))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert rows(folder) == rows(other)


def test_killed_between_uploads_and_moved_it_ends_as_the_unbroken_run(world, server, tmp_path):
    url = f'{server.url}/killed'
    with (
        object_stores.Gate(server.port) as gate,
        train(world, url, tmp_path / 'a.logs', **on(server, tmp_path / 'a', gate.port)) as group,
    ):
        deadline = time.monotonic() + 300
        while not whole_steps(server, 'killed'):
            assert group.processes[0].poll() is None, group.log()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        gate.shut()
        assert gate.reached.wait(60), group.log()[-3000:]
        group.processes[0].send_signal(signal.SIGKILL)
        assert group.wait() == [-signal.SIGKILL]
    newest = whole_steps(server, 'killed')[-1]
    assert 0 < newest < 60
    with train(world, url, tmp_path / 'b.logs', RARELY, **on(server, tmp_path / 'b')) as group:
        assert group.wait() == [0], group.log()[-3000:]
        assert f'resuming from checkpoint {newest} of' in group.log()
    copy = server.download('killed', tmp_path / 'copy')
    manifest.verify(copy)
    assert_same_run(copy, world / 'unbroken')
    with train(world, url, tmp_path / 'c.logs', **on(server, tmp_path / 'c')) as group:
        assert group.wait() == [0]
        assert 'is finished already' in group.log()


def test_sigterm_ends_when_the_last_checkpoint_is_at_the_url(world, server, tmp_path):
    url = f'{server.url}/stopped'
    with train(world, url, tmp_path / 'a.logs', **on(server, tmp_path / 'a')) as group:
        while not whole_steps(server, 'stopped'):
            assert group.processes[0].poll() is None, group.log()[-3000:]
            time.sleep(0.01)
        group.processes[0].send_signal(signal.SIGTERM)
        assert group.wait() == [143], group.log()[-3000:]
    newest = whole_steps(server, 'stopped')[-1]
    assert f'stopped by SIGTERM after step {newest};' in group.log()


def test_a_store_that_refuses_is_one_line(world, server, tmp_path):
    url = f'{server.url}-of-nobody/run'
    with train(world, url, tmp_path / 'logs', **on(server, tmp_path / 'a')) as group:
        assert group.wait() == [2]
        last = group.log().splitlines()[-1]
    assert last.startswith(f'fsa: {url}')
    assert 'Traceback' not in group.log()


# -- hosts that have nothing in common but the bucket ----------------------------------------------


def apart(world, server, run, tmp_path, name, *more):
    """Two processes; each works in a folder of its own, as on two hosts."""
    folders = [tmp_path / f'{name}-{number}' for number in range(2)]
    for folder in folders:
        folder.mkdir()
    return train(
        world, f'{server.url}/{run}', tmp_path / f'{name}.logs', *more, processes=2,
        folders=folders, **on(server, 'outputs'),
    )  # fmt: skip


def test_two_hosts_write_one_checkpoint_to_gs(world, tmp_path):
    with object_stores.gcs() as server:
        with apart(world, server, 'apart', tmp_path, 'a') as group:
            while not whole_steps(server, 'apart'):
                assert group.processes[0].poll() is None, group.log()[-3000:]
                time.sleep(0.01)
            group.processes[1].send_signal(signal.SIGTERM)
            assert group.wait() == [143, 143], group.log()[-3000:]
        newest = whole_steps(server, 'apart')[-1]
        assert 0 < newest < 60
        with apart(world, server, 'apart', tmp_path, 'b', RARELY) as group:
            assert group.wait() == [0, 0], group.log()[-3000:]
            assert f'resuming from checkpoint {newest} of' in group.log()
        copy = server.download('apart', tmp_path / 'copy')
    assert open_model(copy).step('latest') == 60
    ours, theirs = ([row['loss'] for row in rows(f)][:20] for f in (copy, world / 'unbroken'))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_seeds_train_together_on_two_hosts_that_share_gs_alone(world, tmp_path, tiny_spiece):
    """The other host has neither the folders of the seeds nor the model folder."""
    packed = training.pack(tmp_path / 'packed', tiny_spiece, {'t': ''}, train=32)
    knobs = {
        'TrainConfig.data': f"'{packed}'",
        'TrainConfig.seeds': '(1, 2)',
        'TrainConfig.steps': '1',
        'TrainConfig.metric': "'loss'",
        'TrainConfig.validation_split': "'validation'",
        'RowsConfig.layout': "'pairs'",
        'RowsConfig.encoder_length': '0',
        'RowsConfig.decoder_length': '0',
    }
    more = [f'--gin.{name}={value}' for name, value in knobs.items()]
    with object_stores.gcs() as server:
        with apart(world, server, 'seeds', tmp_path, 'seeds', *more) as group:
            assert group.wait() == [0, 0], group.log()[-3000:] + group.log(1)[-3000:]
        copy = server.download('seeds', tmp_path / 'copy')
    assert manifest.read(copy)['counts']['best'].keys() == {'1', '2'}
    assert open_model(copy).load_params(seed=2)
    assert {row['step'] for row in rows(copy / 'seed-2')} == {1}


def test_two_hosts_that_have_no_folder_in_common_are_refused_elsewhere(world, tmp_path):
    with object_stores.s3() as server, apart(world, server, 'apart', tmp_path, 'a') as group:
        assert group.wait() == [2, 2]
        assert 'have no folder in common; expected gs://' in group.log()


COMPILES = """
import jax
from fsa_jax.compilation import cache_programs
cache_programs('gs://bucket/xla')
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
jax.config.update('jax_log_compiles', True)
print(jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((8, 8)))[0, 0])
"""


def test_programs_that_one_host_compiled_are_read_by_another(tmp_path):
    with object_stores.gcs() as server:
        said = []
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, '-c', COMPILES],
                env=environment(1, **server.environment()), capture_output=True, text=True,
            )  # fmt: skip
            assert done.stdout == '9.0\n', done.stderr[-3000:]
            said.append("Persistent compilation cache hit for 'jit__lambda'" in done.stderr)
        assert any(name.startswith('xla/cpu-1-1/jit__lambda') for name in server.names('xla'))
    assert said == [False, True]

"""Model folders and the checkpoints of a run."""

import errno
import json
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from fsa_jax import optim
from fsa_jax.configs import OptimizerConfig, T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import Unreachable, UserError
from fsa_jax.hosts import Hosts
from fsa_jax.model.t5 import init_params
from fsa_jax.train import checkpoint
from fsa_jax.train.checkpoint import Checkpoints, open_model, write_model
from fsa_jax.train.state import TrainState

TINY = T5Config(
    vocab_size=300, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=2, num_heads=2
)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope='module')
def params():
    return init_params(TINY, jax.random.key(0))


@pytest.fixture
def model(tmp_path, params, tiny_spiece):
    write_model(tmp_path / 'model', TINY, Vocabulary(tiny_spiece), params)
    return tmp_path / 'model'


def test_a_model_folder_gives_back_what_was_written(model, params, tiny_spiece, caplog):
    opened = open_model(model)
    assert opened.config == TINY
    assert opened.vocabulary.sha256 == Vocabulary(tiny_spiece).sha256
    assert opened.step() == 0
    assert_equal(opened.load_params(), params)
    assert not caplog.records


def damage(folder):
    """Flips a byte in the middle of every file of array data."""
    for path in folder.rglob('d/*'):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)


def test_unusable_model_folders_are_named(tmp_path, model):
    with pytest.raises(UserError, match=r'is not a model folder .* has no model\.json$'):
        open_model(tmp_path)
    (tmp_path / 'config.json').write_text('{}')
    with pytest.raises(UserError, match=r'has no model\.json; .* `fsa import` first'):
        open_model(tmp_path)
    with pytest.raises(UserError, match='keeps no best checkpoint'):
        open_model(model).load_params('best')
    write_best = (model / 'best.json').write_text
    write_best('{"step": 0, "metric": "validation/f1", "value": 0.5}')
    with pytest.raises(UserError, match=r"or a step; got 'lates' \(did you mean 'latest'"):
        open_model(model).load_params('lates')
    damage(model / 'checkpoints/0/params')
    with pytest.raises(UserError, match='checkpoints/0 is damaged'):
        open_model(model).load_params()


def test_a_tensor_of_another_shape_is_named(model):
    fields = json.loads((model / 'model.json').read_text()) | {'d_ff': 32}
    (model / 'model.json').write_text(json.dumps(fields))
    with pytest.raises(
        UserError, match=r'layers/mlp/wi/kernel must have shape .* got \(2, 8, 16\)'
    ):
        open_model(model).load_params()


def state(step, value=1.0):
    params = {'w': jnp.arange(2048.0) * value, 'layers': {'b': jnp.ones((2, 3), jnp.bfloat16)}}
    created = TrainState.create(params, optax.adam(1e-3))
    return TrainState(jnp.int32(step), params, jax.tree.map(lambda x: x + 1, created.opt_state))


def abstract(example):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), example
    )


def test_a_run_restores_its_newest_state(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2, best_step=lambda: None)
    assert checkpoints.restore(abstract(state(0))) is None
    for step in (1, 2, 3):
        checkpoints.save(state(step, value=step))
    checkpoints.close()
    assert checkpoint.steps(tmp_path) == [2, 3]
    again = Checkpoints(tmp_path, keep=2, best_step=lambda: None)
    assert_equal(again.restore(abstract(state(0))), state(3, value=3))
    again.close()


@pytest.mark.parametrize('name', ['adamw', 'adamw_scale', 'adafactor'])
def test_the_state_of_every_optimizer_is_restored(tmp_path, name):
    optimizer = optim.optimizer(OptimizerConfig(name=name), lambda step: 1e-3)
    params = {'w': jnp.arange(4096.0).reshape(128, 32), 'layers': {'b': jnp.ones((2, 3))}}
    started = TrainState.create(params, optimizer)
    updates, opt_state = optimizer.update(params, started.opt_state, params)
    saved = TrainState(jnp.int32(1), optax.apply_updates(params, updates), opt_state)
    checkpoints = Checkpoints(tmp_path, keep=1, best_step=lambda: None)
    checkpoints.save(saved)
    assert_equal(checkpoints.restore(abstract(started)), saved)
    checkpoints.close()


def test_latest_and_best_are_kept(tmp_path):
    best = {1: 1, 2: 1, 3: 3, 4: 3, 5: 3, 6: 6}  # the best step known when a step is saved
    now = 0
    checkpoints = Checkpoints(tmp_path, keep=1, best_step=lambda: best.get(now))
    for now in best:
        checkpoints.save(state(now))
        checkpoints.wait()
        assert checkpoint.steps(tmp_path) == sorted({now, best[now]})
    checkpoints.close()
    assert checkpoint.steps(tmp_path) == [6]


def test_only_a_run_that_ends_well_drops_what_is_superfluous(tmp_path):
    """Processes wait for each other to delete: one whose others failed would wait in vain."""
    best = 1
    checkpoints = Checkpoints(tmp_path, keep=1, best_step=lambda: best)
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    checkpoints.wait()
    best = 2
    checkpoints.close()
    assert checkpoint.steps(tmp_path) == [1, 2]
    again = Checkpoints(tmp_path, keep=1, best_step=lambda: best)
    again.drop_superfluous()
    again.close()
    assert checkpoint.steps(tmp_path) == [2]


def cut(folder):
    """Cuts every file of array data in half."""
    for path in folder.rglob('d/*'):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose(pattern):
    """Deletes what it finds in a folder."""

    def delete(folder):
        found = list(folder.glob(pattern))
        assert found
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return delete


@pytest.mark.parametrize(
    'harm',
    [damage, cut, *map(lose, ['**/d/*', 'params', 'training', 'checksums'])],
    ids=['flipped', 'cut', 'arrays', 'parameters', 'optimizer', 'checksums'],
)
def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_used(tmp_path, capsys, harm):
    checkpoints = Checkpoints(tmp_path, keep=3, best_step=lambda: None)
    for step in (1, 2):
        checkpoints.save(state(step, value=step))
    checkpoints.close()
    harm(tmp_path / 'checkpoints/2')
    again = Checkpoints(tmp_path, keep=3, best_step=lambda: None)
    assert_equal(again.restore(abstract(state(0))), state(1, value=1))
    assert 'checkpoint 2 is damaged' in capsys.readouterr().err
    again.save(state(2, value=5))  # its step is free again
    again.close()
    assert checkpoint.steps(tmp_path) == [1, 2]
    assert (tmp_path / 'checkpoints/2.damaged').is_dir()


def test_a_half_written_newest_checkpoint_does_not_count(tmp_path):
    """What a kill leaves while Orbax writes, before it gives the folder its name."""
    checkpoints = Checkpoints(tmp_path, keep=3, best_step=lambda: None)
    for step in (1, 2):
        checkpoints.save(state(step, value=step))
    checkpoints.close()
    newest = tmp_path / 'checkpoints/2'
    newest.rename(newest.with_name('3.orbax-checkpoint-tmp'))
    assert checkpoint.steps(tmp_path) == [1]
    again = Checkpoints(tmp_path, keep=3, best_step=lambda: None)
    assert_equal(again.restore(abstract(state(0))), state(1, value=1))
    again.save(state(2, value=5))
    again.close()
    assert {path.name for path in newest.parent.iterdir()} == {'1', '2'}


def too_many_links(path):
    """What the kernel refuses to open, as it would in a passing failure."""
    for file in path.rglob('d/*'):
        file.unlink()
        file.symlink_to(file)


def no_answer(*_):
    raise OSError(errno.EIO, 'Input/output error')


@pytest.mark.parametrize('how', ['tensorstore', 'file system'])
def test_a_checkpoint_that_cannot_be_read_now_is_left_alone(tmp_path, how, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=3, best_step=lambda: None)
    for step in (1, 2):
        checkpoints.save(state(step))
    checkpoints.close()
    if how == 'tensorstore':
        too_many_links(tmp_path / 'checkpoints/2/params')
    else:
        monkeypatch.setattr(Checkpoints, '_restore', no_answer)
    again = Checkpoints(tmp_path, keep=3, best_step=lambda: None)
    with pytest.raises(Unreachable, match=r'checkpoints/2 cannot be read now .*tries again'):
        again.restore(abstract(state(0)))
    again.close()
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3, best_step=lambda: None)
    checkpoints.save(state(1))
    checkpoints.close()
    damage(tmp_path / 'checkpoints/1')
    again = Checkpoints(tmp_path, keep=3, best_step=lambda: None)
    with pytest.raises(UserError, match='--overwrite begins anew'):
        again.restore(abstract(state(0)))
    again.close()


def test_a_checkpoint_of_a_run_is_read_without_a_word(tmp_path, params, tiny_spiece, caplog):
    """Orbax would warn of the optimizer's state, which only the run itself reads."""
    checkpoint.write_header(tmp_path, TINY, Vocabulary(tiny_spiece))
    checkpoints = Checkpoints(tmp_path, keep=1, best_step=lambda: None)
    checkpoints.save(TrainState.create(params, optax.adam(1e-3)))
    checkpoints.close()
    caplog.clear()
    assert_equal(open_model(tmp_path).load_params(), params)
    assert not caplog.records


def test_the_checksum_alone_finds_a_changed_value(tmp_path):
    items = {'params': {'w': jnp.arange(8.0)}}
    sums = checkpoint._checksums(items)
    checkpoint._check(items, sums)
    for change in (1e-30, jnp.nan):
        with pytest.raises(checkpoint.Damaged, match='params/w'):
            checkpoint._check({'params': {'w': items['params']['w'].at[0].set(change)}}, sums)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 6 MB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', folder]
    if not shutil.which('mount') or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip('may not mount a file system here')
    yield folder
    subprocess.run(['umount', '-l', folder], check=True)


def noise(step, size):
    params = {'w': jax.random.normal(jax.random.key(step), (size,))}  # it does not compress
    return TrainState(jnp.int32(step), params, optax.sgd(1e-3).init(params))


def test_on_a_full_disk_the_run_goes_on_with_the_last_good_checkpoint(small_disk, capsys):
    checkpoints = Checkpoints(small_disk, keep=2, best_step=lambda: None)
    checkpoints.save(noise(1, 300_000))
    (small_disk / 'other').write_bytes(bytes(4_000_000))
    checkpoints.save(noise(2, 300_000))
    assert checkpoints.latest() == 1
    assert 'checkpoint 2 was not saved: no space is left' in capsys.readouterr().err
    assert [path.name for path in (small_disk / 'checkpoints').iterdir()] == ['1']
    (small_disk / 'other').unlink()
    checkpoints.save(noise(3, 300_000))
    checkpoints.close()
    assert checkpoint.steps(small_disk) == [1, 3]


class OfTwo(Hosts):
    """Process 0 of two, of which the other agrees."""

    count = 2


def fails(number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def test_several_processes_look_for_room_before_any_of_them_writes(tmp_path, capsys, monkeypatch):
    """One whose disk is full as it writes would leave the others waiting for it."""
    checkpoints = Checkpoints(tmp_path, keep=2, best_step=lambda: None, hosts=OfTwo())
    checkpoints.save(noise(1, 300_000))
    checkpoints.wait()
    room = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(shutil, 'disk_usage', lambda _: room._replace(free=1_200_000))
        full.setattr(checkpoints._manager, 'save', fails(errno.EIO))
        checkpoints.save(noise(2, 300_000))
    said = capsys.readouterr().err
    assert 'checkpoint 2 was not saved: no space is left' in said
    assert 'its last good checkpoint is 1' in said
    checkpoints.save(noise(3, 300_000))
    checkpoints.close()
    assert checkpoint.steps(tmp_path) == [1, 3]


@pytest.mark.timeout(60)
def test_a_disk_that_is_full_none_the_less_ends_several_processes(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=2, best_step=lambda: None, hosts=OfTwo())
    checkpoints.save(state(1))
    checkpoints.wait()
    monkeypatch.setattr(checkpoints._manager, 'save', fails(errno.ENOSPC))
    with pytest.raises(UserError, match=r'checkpoint 2 was not saved: no .* from checkpoint 1$'):
        checkpoints.save(state(2))
    with monkeypatch.context() as others:  # they will not come: it does not wait for them
        others.setattr(checkpoints._manager, 'wait_until_finished', fails(errno.EIO))
        checkpoints.close()
    checkpoints._manager.close()


def test_a_process_that_could_not_write_says_so_before_it_waits_for_others(small_disk, monkeypatch):
    """They wait for what it does not write, and would for Orbax's 20 minutes."""
    failed = []  # what had failed where others were waited for

    def meet(*, key, timeout_ms):
        failed.append(sys.exception())

    monkeypatch.setattr(ocp.multihost, 'get_barrier_sync_fn', lambda: meet)
    checkpoints = Checkpoints(small_disk, keep=2, best_step=lambda: None, hosts=OfTwo())
    monkeypatch.setattr(checkpoints, '_has_room', lambda _: True)
    (small_disk / 'other').write_bytes(bytes(5_500_000))
    checkpoints.save(noise(1, 300_000))
    with pytest.raises(UserError, match='no space is left'):
        checkpoints.wait()
    checkpoints.close()
    assert failed
    assert not any(failed)


def test_another_error_while_saving_is_not_a_full_disk(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=2, best_step=lambda: None)
    monkeypatch.setattr(checkpoints._manager, 'save', fails(errno.EIO))
    with pytest.raises(OSError, match='Input/output error'):
        checkpoints.save(state(1))
    checkpoints.close()

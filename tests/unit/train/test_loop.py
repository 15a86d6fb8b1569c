"""The train stage in one process: what it writes, how it starts, and what it refuses."""

import errno
import json
import os
import re
import signal
import threading
import time
from types import SimpleNamespace

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from fsa_jax import cli, manifest
from fsa_jax.configs import T5Config, TrainConfig
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.model.t5 import init_params
from fsa_jax.train import checkpoint, loop
from fsa_jax.train.checkpoint import open_model, write_model
from fsa_jax.train.job import student_config
from tests import training


@pytest.fixture(scope='module')
def packed(tmp_path_factory, tiny_spiece):
    return training.pack(tmp_path_factory.mktemp('packed') / 'p', tiny_spiece)


def rows(folder):
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def trained(packed, cache, tmp_path_factory):
    """A fine-tuning run of three epochs."""
    output = tmp_path_factory.mktemp('trained') / 'run'
    return training.train(packed, output, cache, steps=0, epochs=3.0)


def test_a_run_leaves_a_model_folder_with_its_metrics(trained, packed):
    written = rows(trained)
    steps = [row['step'] for row in written if 'loss' in row]
    assert steps == list(range(1, 19))  # 96 pairs, 16 a step, 3 epochs
    evaluations = [row for row in written if 'validation/f1' in row]
    assert [row['step'] for row in evaluations] == [6, 12, 18]
    assert all(0 <= row['validation/f1'] <= 1 and row['validation/loss'] > 0 for row in evaluations)
    losses = [row['loss'] for row in written if 'loss' in row]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    assert written[0]['learning_rate'] == pytest.approx(3e-3)
    assert all(row['pairs'] == 16 for row in written if 'loss' in row)
    model = open_model(trained)
    assert model.vocabulary.sha256 == Vocabulary.load(packed / 'vocabulary').sha256
    assert model.step('latest') == 18
    assert manifest.read(trained)['machine']['devices'] == {'cpu': 1}
    counts = manifest.read(trained)['counts']
    assert counts['steps'] == 18
    assert counts['parameters'] == sum(x.size for x in jax.tree.leaves(model.load_params()))


def test_the_first_of_the_best_is_kept(trained):
    evaluations = [row for row in rows(trained) if 'validation/f1' in row]
    best = max(evaluations, key=lambda row: row['validation/f1'])  # max takes the first
    assert open_model(trained).step('best') == open_model(trained).step() == best['step']
    assert set(checkpoint.steps(trained)) <= {best['step'], 12, 18}


def test_tensorboard_events_hold_the_same_values(trained):
    losses = {
        event.step: value.simple_value
        for path in (trained / 'tensorboard').iterdir()
        for event in training.events(path.read_bytes())
        for value in event.summary.value
        if value.tag == 'loss'
    }
    assert losses == {
        row['step']: pytest.approx(row['loss'], rel=1e-6) for row in rows(trained) if 'loss' in row
    }


def test_the_same_run_again_gives_the_same_weights(packed, cache, trained, tmp_path):
    """Run from the config.gin beside the first, which holds all of its knobs."""
    again = tmp_path / 'again'
    assert cli.main(['train', f'--gin_file={trained}/config.gin', f'--output={again}']) == 0
    equal(open_model(again).load_params('latest'), open_model(trained).load_params('latest'))
    assert not [t.name for t in threading.enumerate() if t.name.startswith('feed')]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize('layout', ['packed', 'pairs'])
def test_microbatches_add_up_to_the_whole_batch(packed, cache, tmp_path, layout):
    """Token averaging and no dropout: four microbatches are one batch."""
    knobs = {
        'layout': layout,
        'encoder_length': 48,
        'decoder_length': 48,
        'batch_size': 8,
        'steps': 4,
        'dropout_rate': 0.0,
        'validation_split': '',
    }
    one = training.train(packed, tmp_path / 'one', cache, **knobs)
    four = training.train(packed, tmp_path / 'four', cache, **knobs, microbatches=4)
    for a, b in zip(rows(one), rows(four)):
        assert a['loss'] == pytest.approx(b['loss'], rel=1e-5)
        assert a['grad_norm'] == pytest.approx(b['grad_norm'], rel=1e-4)


def test_losses_of_tasks_are_logged_apart(tiny_spiece, cache, tmp_path):
    packed = training.pack(tmp_path / 'p', tiny_spiece, {'a': 'atsa', 'b': ''}, train=32)
    run = training.train(packed, tmp_path / 'run', cache, steps=2, metric='loss/b')
    first, last = rows(run)[0], rows(run)[-1]
    assert (
        min(first['loss/a'], first['loss/b'])
        < first['loss']
        < max(first['loss/a'], first['loss/b'])
    )
    assert {'validation/loss/a', 'validation/loss/b', 'validation/f1'} < last.keys()
    assert json.loads((run / 'best.json').read_text())['metric'] == 'validation/loss/b'


# -- several tasks, of which some have a validation split ------------------------------------------


@pytest.fixture(scope='module')
def some_validated(tiny_spiece, tmp_path_factory):
    """Tasks a, b and c; b has no validation split."""
    folder, tasks = tmp_path_factory.mktemp('tasks') / 'p', dict.fromkeys('abc', '')
    return training.pack(folder, tiny_spiece, tasks, train=32, not_validated=('b',))


ONE_STEP = {'steps': 1, 'learning_rate': 0.0, 'metric': 'loss', 'tensorboard': False}


@pytest.fixture(scope='module')
def of_each_alone(some_validated, cache, tmp_path_factory):
    """What a run on each task alone says of its validation; a learning rate of 0 leaves the weights."""
    losses, folder = {}, tmp_path_factory.mktemp('alone')
    for task in 'ac':
        alone = training.train(some_validated, folder / task, cache, tasks=(task,), **ONE_STEP)
        losses[f'validation/loss/{task}'] = rows(alone)[-1]['validation/loss']
    assert len({*losses.values()}) == 2
    return losses


@pytest.mark.parametrize('seeds', [(), (42, 52)])
def test_validation_losses_are_of_the_tasks_that_have_the_split(
    some_validated, of_each_alone, cache, tmp_path, seeds
):
    run = training.train(some_validated, tmp_path / 'run', cache, seeds=seeds, **ONE_STEP)
    found = rows(run / 'seed-42' if seeds else run)[-1]
    by_task = {name: value for name, value in found.items() if 'validation/loss/' in name}
    assert by_task == pytest.approx(of_each_alone, rel=1e-5)


# -- evaluations -----------------------------------------------------------------------------------


def test_a_best_whose_checkpoint_was_not_saved_leaves_the_one_before(
    packed, cache, tmp_path, monkeypatch
):
    """The disk is full at the second evaluation, the best of all."""
    save, f1s = ocp.CheckpointManager.save, iter((0.5, 0.9, 0.3, 0.4))

    def fails(self, step, **knobs):
        if step == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, step, **knobs)

    monkeypatch.setattr(ocp.CheckpointManager, 'save', fails)
    monkeypatch.setattr(
        loop.Validator, 'evaluate', lambda *_: {'validation/loss': 1.0, 'validation/f1': next(f1s)}
    )
    run = training.train(
        packed, tmp_path / 'run', cache, steps=8, evaluate_every=2, keep=1, tensorboard=False
    )
    assert [row['step'] for row in rows(run) if 'validation/f1' in row] == [2, 4, 6, 8]
    assert open_model(run).step('best') == 2
    assert checkpoint.steps(run) == [2, 8]


def test_rows_are_searched_only_where_an_evaluation_is_due():
    """There are many of them."""
    searched = []
    log = SimpleNamespace(evaluated=lambda step: searched.append(step))
    job = SimpleNamespace(steps=10, train=TrainConfig(evaluate_every=4))
    run = SimpleNamespace(logs=[log], job=job)
    due = [step for step in range(11) if loop.StudentTraining.evaluation_due(run, step, False)]
    assert due == searched == [4, 8, 10]


# -- where a run starts ----------------------------------------------------------------------------


def test_a_run_starts_from_a_model_folder(packed, cache, trained, tmp_path):
    knobs = {'init': str(trained), 'steps': 1, 'learning_rate': 0.0, 'validation_split': ''}
    run = training.train(packed, tmp_path / 'run', cache, **knobs, init_which='latest')
    equal(open_model(run).load_params(), open_model(trained).load_params('latest'))
    assert rows(run)[0]['loss'] < rows(trained)[0]['loss'] * 0.8


def test_an_init_may_get_other_padding_rows(packed, cache, trained, tmp_path):
    knobs = {'init': str(trained), 'steps': 2, 'validation_split': '', 'dropout_rate': 0.0}
    plain = training.train(packed, tmp_path / 'plain', cache, **knobs)
    padded = training.train(packed, tmp_path / 'padded', cache, **knobs, vocab_padding=8)
    assert [r['loss'] for r in rows(plain)] == pytest.approx([r['loss'] for r in rows(padded)])
    table = open_model(padded).load_params()['token_embedder']['embedding']
    assert table.shape[0] == 312
    assert not table[304:].any()


def test_the_architecture_is_that_of_the_init(trained):
    init = open_model(trained)
    taken = student_config(T5Config(dropout_rate=0.3, dtype='bfloat16'), init)
    assert taken == init.config.replace(dropout_rate=0.3, dtype='bfloat16')
    with pytest.raises(UserError, match=r'T5Config.d_ff=128 .* which has 64'):
        student_config(T5Config(d_ff=128), init)


def test_another_vocabulary_than_that_of_the_init_is_refused(packed, cache, tmp_path, tiny_spiece):
    config = T5Config(**training.STUDENT)
    other = Vocabulary(tiny_spiece, newline_token=False)
    write_model(tmp_path / 'init', config, other, init_params(config, jax.random.key(0)))
    with pytest.raises(UserError, match='packed with another vocabulary'):
        training.train(packed, tmp_path / 'run', cache, init=str(tmp_path / 'init'))


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('knobs', 'message'),
    [
        ({'data': ''}, 'TrainConfig.data is empty'),
        ({'vocab_size': 100}, r'T5Config.vocab_size=100 is too small .* at least 2\d\d'),
        ({'steps': 0}, 'TrainConfig.steps or TrainConfig.epochs'),
        ({'tasks': ('tt',)}, "did you mean 't'"),
        ({'split': 'trian'}, "did you mean 'train'"),
        ({'validation_split': 'dev'}, "TrainConfig.validation_split=''"),
        ({'metric': 'f2'}, r"'f2' is not evaluated here; .* \(did you mean 'f1'\?\)"),
        ({'name': 'adafactor', 'vocab_padding': 8}, 'statistics of Adafactor'),
        ({'pad_token_id': 3}, 'T5Config.pad_token_id must be 0, as in T5; got 3'),
        ({'eos_token_id': 2}, 'T5Config.eos_token_id must be 1, as in T5; got 2'),
        ({'decoder_start_token_id': 7}, 'T5Config.decoder_start_token_id must be 0, .*got 7'),
        ({'task_max_new_tokens': {'tt': 9}}, "no task 'tt' .*did you mean 't'"),
        ({'task_max_new_tokens': {'tt': 9}, 'seeds': (1, 2)}, "no task 'tt' .*did you mean 't'"),
        (
            {'init': 'gs://bucket/t5'},
            r"a folder that every host sees, not a URL; got 'gs://bucket/t5'",
        ),
        ({'init': '/nowhere'}, "a file or folder at '/nowhere', which does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(packed, cache, tmp_path, knobs, message):
    with pytest.raises(UserError, match=message) as error:
        training.train(packed, tmp_path / 'run', cache, **knobs)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'run').exists()  # nothing half-written stays behind


def test_a_loss_that_is_not_finite_stops_the_run(packed, cache, tmp_path):
    """Weights of 1e30 after step 3 overflow in step 4, whose predecessor was saved."""
    knobs = {'steps': 9, 'save_every': 1, 'schedule': 'constant', 'validation_split': ''}
    with pytest.raises(UserError, match=r'step 2: the loss is .*checkpoints/1\. Try a lower'):
        training.train(packed, tmp_path / 'run', cache, **knobs, learning_rate=1e30)
    assert checkpoint.steps(tmp_path / 'run') == [1]


# -- stopping and resuming -------------------------------------------------------------------------


def test_sigterm_during_an_evaluation_is_obeyed_and_the_evaluation_made_up(
    packed, cache, tmp_path, monkeypatch
):
    knobs = {'steps': 8, 'evaluate_every': 4, 'save_every': 0}
    whole = training.train(packed, tmp_path / 'whole', cache, **knobs)
    evaluate, calls = loop.Validator.evaluate, []

    def killed(self, params, stop):
        calls.append(1)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGTERM)
        return evaluate(self, params, stop)

    monkeypatch.setattr(loop.Validator, 'evaluate', killed)
    with pytest.raises(SystemExit) as stopped:
        training.train(packed, tmp_path / 'run', cache, **knobs)
    assert stopped.value.code == 143
    assert checkpoint.steps(tmp_path / 'run') == [4]
    assert not any('validation/f1' in row for row in rows(tmp_path / 'run'))
    training.train(packed, tmp_path / 'run', cache, **knobs)
    assert training.comparable(rows(tmp_path / 'run')) == training.comparable(rows(whole))
    equal(
        open_model(tmp_path / 'run').load_params('latest'), open_model(whole).load_params('latest')
    )


def test_what_is_cut_is_said_of_validation_too(packed, cache, tmp_path, capsys):
    training.train(packed, tmp_path / 'run', cache, steps=1, encoder_length=6, tensorboard=False)
    said = capsys.readouterr().err
    assert re.search(r'; 96 pairs are longer than RowsConfig.* and cut; 1 steps', said)
    assert 'the loss of validation: 8 pairs are longer than RowsConfig' in said


def test_rates_are_of_steps_and_not_of_compiling(packed, cache, tmp_path, monkeypatch):
    """A batch of a new shape compiles in the middle of a run."""
    compile_train_step = loop.compile_train_step

    def slow(*arguments):
        step, seen = compile_train_step(*arguments), set()

        def run(state, batch):
            shape = batch['encoder_input_tokens'].shape, batch['decoder_input_tokens'].shape
            if shape not in seen:
                seen.add(shape)
                time.sleep(3)
            return step(state, batch)

        return run

    monkeypatch.setattr(loop, 'compile_train_step', slow)
    knobs = {'steps': 12, 'batch_size': 2, 'buckets': 2, 'validation_split': '', 'log_every': 4}
    run = training.train(packed, tmp_path / 'run', cache, **training.SMALLEST, **knobs)
    rates = [row['pairs_per_second'] for row in rows(run) if 'pairs_per_second' in row]
    assert rates
    assert min(rates) > 4 * 2 / 3, 'pairs of four steps in the time that one shape takes to compile'


def test_a_profile_is_written(packed, cache, tmp_path):
    knobs = {'steps': 3, 'profile_steps': (2, 3), 'validation_split': '', 'tensorboard': False}
    run = training.train(packed, tmp_path / 'run', cache, **knobs)
    assert list((run / 'profile').rglob('*.xplane.pb'))
    assert not (run / 'tensorboard').exists()

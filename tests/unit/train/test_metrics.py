"""metrics.jsonl, best.json and the choice of a metric."""

import errno
import json
import os

import pytest

from fsa_jax.errors import UserError
from fsa_jax.train import metrics
from fsa_jax.train.metrics import Best, MetricsLog, Throughput, chosen_metric
from tests.training import events


def write(path, rows, torn=''):
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows) + torn)


def test_rows_beyond_the_restored_step_are_cut_back(tmp_path):
    rows = [{'step': 1, 'loss': 3.0}, {'step': 2, 'validation/f1': 0.5}, {'step': 3, 'loss': 1.0}]
    write(tmp_path / 'metrics.jsonl', rows, torn='{"step": 4, "lo')
    log = MetricsLog(tmp_path, 2, tensorboard=False)
    assert log.rows == rows[:2]
    assert log.evaluated(2)
    assert not log.evaluated(1)
    log.write({'step': 3, 'loss': 1.5})
    log.close()
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line) for line in lines] == [*rows[:2], {'step': 3, 'loss': 1.5}]


def _no_constant(name):
    raise AssertionError(f'{name} is not JSON')


def test_a_value_that_is_not_finite_is_null(tmp_path):
    path = tmp_path / 'metrics.jsonl'
    path.write_text('{"step": 1, "loss": NaN}\n')  # of an earlier version
    log = MetricsLog(tmp_path, 1, tensorboard=True)
    log.write({'step': 2, 'validation/loss': float('nan'), 'validation/f1': 0.5})
    log.close()
    written = [json.loads(x, parse_constant=_no_constant) for x in path.read_text().splitlines()]
    assert written == [
        {'step': 1, 'loss': None},
        {'step': 2, 'validation/loss': None, 'validation/f1': 0.5},
    ]
    ranked = Best(tmp_path, 'validation/loss')
    ranked.resume(log.rows, there=[2])
    assert ranked.step is None


def best(folder, metric, values):
    """The best of {step: value}, offered in order."""
    ranked = Best(folder, metric)
    for step, value in values.items():
        ranked.offer({'step': step, metric: value})
    return ranked


def test_the_best_is_the_first_that_is_strictly_greater(tmp_path):
    assert best(tmp_path, 'validation/f1', {5: 0.4, 10: 0.6, 15: 0.6, 20: 0.5}).step == 10
    assert json.loads((tmp_path / 'best.json').read_text()) == {
        'step': 10,
        'metric': 'validation/f1',
        'value': 0.6,
    }


def test_a_loss_is_better_when_smaller_and_zero_is_a_score(tmp_path):
    assert best(tmp_path, 'validation/loss/a', {5: 2.0, 10: 1.0, 15: 1.5}).step == 10
    assert best(tmp_path, 'validation/f1/gloss', {5: 0.2, 10: 0.1}).step == 5
    assert best(tmp_path, 'validation/f1', {5: 0.0, 10: 0.0}).step == 5


def test_no_metric_keeps_no_best(tmp_path):
    ranked = Best(tmp_path, '')
    ranked.offer({'step': 5, 'validation/loss': 1.0})
    assert ranked.step is None
    assert not (tmp_path / 'best.json').exists()


def test_the_best_is_found_again_among_the_checkpoints_that_are_there(tmp_path):
    rows = [{'step': s, 'validation/f1': v} for s, v in {5: 0.4, 10: 0.6, 15: 0.5}.items()]
    best(tmp_path, 'validation/f1', {99: 0.9})  # of steps that were lost
    ranked = Best(tmp_path, 'validation/f1')
    ranked.resume([{'step': 1, 'loss': 1.0}, *rows], there=[5, 15])
    assert ranked.step == 15
    ranked.resume([], there=[])
    assert not (tmp_path / 'best.json').exists()


def test_the_metric_that_ranks_checkpoints():
    there = ['validation/loss', 'validation/f1', 'validation/f1/a']
    assert chosen_metric('auto', there) == 'validation/f1'
    assert chosen_metric('auto', there[:1]) == chosen_metric('none', there) == ''
    assert chosen_metric('loss', there) == 'validation/loss'
    assert chosen_metric('validation/f1/a', there) == 'validation/f1/a'
    with pytest.raises(UserError, match='expected auto, none, loss, f1, f1/a'):
        chosen_metric('f1/b', there)


def test_throughput_is_of_training_steps_alone():
    throughput = Throughput()
    throughput.add(8, 100, ended=60.0)  # compiling took a minute
    assert throughput.rates() == {}
    throughput.add(8, 100, ended=61.0)
    throughput.add(4, 60, ended=62.0)
    assert throughput.rates() == {'pairs_per_second': 6.0, 'tokens_per_second': 80.0}
    throughput.lap()
    throughput.add(8, 100, ended=64.0)
    assert throughput.rates() == {'pairs_per_second': 4.0, 'tokens_per_second': 50.0}
    throughput.pause()  # an evaluation of half an hour
    throughput.add(8, 100, ended=2000.0)
    assert throughput.rates() == {}
    throughput.add(8, 100, ended=2002.0)
    assert throughput.rates()['pairs_per_second'] == 4.0


def test_rows_wait_while_the_disk_is_full(tmp_path, capsys):
    log = MetricsLog(tmp_path, 0, tensorboard=False)
    file, full = log._file._file, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        """Takes 5 bytes, then nothing."""

        taken = 0

        def write(self, data):
            if self.taken:
                raise full
            self.taken = file.write(data[:5])
            return self.taken

    log._file._file = Full()
    for step in (1, 2):
        log.write({'step': step, 'loss': 1.5})
    assert capsys.readouterr().err.count('metrics.jsonl: No space left on device; what') == 1
    log._file._file = file
    log.write({'step': 3, 'loss': 1.5})
    log.close()
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 2, 3]


def test_events_wait_while_the_disk_is_full(tmp_path):
    """More of them than any queue holds."""
    log = MetricsLog(tmp_path, 0, tensorboard=True)
    [path] = (tmp_path / 'tensorboard').iterdir()
    before = path.read_bytes()
    with open('/dev/full', 'ab', buffering=0) as full:
        file, log._events._file._file = log._events._file._file, full
        for step in range(1, 31):
            log.write({'step': step, 'loss': 1.5})
        assert path.read_bytes() == before
    log._events._file._file = file
    log.close()
    found = [event for event in events(path.read_bytes()) if event.summary.value]
    assert [event.step for event in found] == list(range(1, 31))
    assert {(v.tag, v.simple_value) for event in found for v in event.summary.value} == {
        ('loss', 1.5)
    }


def test_what_a_later_start_writes_replaces_what_an_earlier_wrote(tmp_path):
    MetricsLog(tmp_path, 7, tensorboard=True).close()
    [path] = (tmp_path / 'tensorboard').iterdir()
    first, second = events(path.read_bytes())
    assert first.file_version == 'brain.Event:2'
    assert (second.step, second.session_log.status) == (8, 1)  # START


def test_the_best_waits_while_the_disk_is_full(tmp_path, capsys, monkeypatch):
    def fails(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ranked = Best(tmp_path, 'validation/f1')
    with monkeypatch.context() as patch:
        patch.setattr(metrics, 'write_atomic', fails)
        ranked.offer({'step': 5, 'validation/f1': 0.5})
        with pytest.raises(OSError, match='No space left'):  # a run does not end without it
            ranked.write()
    assert ranked.step == 5
    assert 'that step 5 is the best waits' in capsys.readouterr().err
    ranked.offer({'step': 10, 'validation/f1': 0.4})
    assert json.loads((tmp_path / 'best.json').read_text())['step'] == 5

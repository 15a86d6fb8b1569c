"""Where wall time goes: every second is of one kind, over all starts."""

import types

import pytest

from fsa_jax.train import goodput
from fsa_jax.train.goodput import KINDS, Goodput, utilisation


class Clock:
    """A time module whose time is set by hand."""

    def __init__(self, now):
        self.now = now

    def advance(self, seconds):
        self.now += seconds

    def module(self):
        return types.SimpleNamespace(monotonic=lambda: self.now, time=lambda: 1e9 + self.now)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(0.0)
    monkeypatch.setattr(goodput, 'time', clock.module())
    return clock


def seconds(row):
    return {kind: round(row[f'goodput/{kind}'] * row['goodput/wall_seconds'], 6) for kind in KINDS}


def a_start(clock, rows=()):
    """5 s to the first step, which compiles for 20 s; 60 s of steps, of which 10 wait for data and 4
    save; an evaluation of 11 s, 1 of which waits for the disk."""
    spent = Goodput()
    clock.advance(3)
    spent.resume(rows)
    clock.advance(2)
    spent.turn_to('data')
    clock.advance(10)
    spent.turn_to('step')
    with spent.spent_on('compile'):
        clock.advance(20)
    clock.advance(46)
    with spent.spent_on('checkpoint'):
        clock.advance(4)
    with spent.spent_on('evaluation'):
        clock.advance(10)
        with spent.spent_on('checkpoint'):
            clock.advance(1)
    return spent


def test_every_second_is_of_one_kind(clock):
    row = a_start(clock).row()
    assert row['goodput/wall_seconds'] == pytest.approx(clock.now) == 96
    assert sum(row[f'goodput/{kind}'] for kind in KINDS) == pytest.approx(1)
    assert seconds(row) == {
        'step': 46, 'compile': 20, 'data': 10, 'checkpoint': 5, 'evaluation': 10, 'restart': 5,
    }  # fmt: skip


def test_a_kill_costs_all_since_the_last_row_that_survives(clock):
    spent = a_start(clock)
    survives = {'step': 10, 'loss': 1.0} | spent.row()
    clock.advance(30)  # steps whose rows and state are lost, and a machine that is down
    later = a_start(clock, [survives, {'step': 10, 'validation/loss': 1.0}]).row()
    assert later['goodput/wall_seconds'] == pytest.approx(clock.now) == 2 * 96 + 30
    assert seconds(later)['restart'] == 5 + 30 + 5
    assert seconds(later)['step'] == 92


def test_mfu_is_the_share_of_the_peak():
    assert utilisation(197e12, 'TPU v5 lite', 4)['mfu'] == pytest.approx(0.25)
    assert utilisation(1e9, 'cpu', 8) == {'model_flops_per_second': 1e9}

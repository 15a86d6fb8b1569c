"""Progress as the user sees it: a bar on a terminal, plain lines elsewhere."""

import io
import re
import sys

import pytest

from fsa_jax import progress
from fsa_jax.console import Console


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds since the start, which the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


def test_elsewhere_a_plain_line_every_few_seconds(clock, monkeypatch):
    """A step a second from 100 to 112 of 300: the rate is of this run, the ETA of what is left."""
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    with progress.track('train', 300, 'steps', start=100) as bar:
        for _ in range(12):
            clock[0] += 1.0
            bar.update(1, loss=1.23456, **{'pairs/s': 17})
    assert sys.stderr.getvalue().splitlines() == [
        'train: 105/300 steps  1 steps/s  loss 1.235  pairs/s 17  ETA 3m15s',
        'train: 110/300 steps  1 steps/s  loss 1.235  pairs/s 17  ETA 3m10s',
        'train: 112/300 steps  1 steps/s  loss 1.235  pairs/s 17  ETA 3m08s',
    ]


def test_the_last_line_is_not_said_twice(clock, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    with progress.track('predict', 5, 'rows') as bar:
        clock[0] = 5.0
        bar.update(5)
        clock[0] = 60.0
    assert sys.stderr.getvalue() == 'predict: 5/5 rows  1 rows/s  ETA 0s\n'


def test_without_a_total_there_is_no_eta(clock, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    with progress.track('pack', None, 'pairs') as bar:
        clock[0] = 10.0
        bar.update(50)
    assert sys.stderr.getvalue().splitlines()[0] == 'pack: 50 pairs  5 pairs/s'


def test_a_short_stage_says_nothing(monkeypatch):
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    with progress.track('score', 3) as bar:
        bar.update(3)
    assert not sys.stderr.getvalue()


def test_on_a_terminal_a_bar(monkeypatch):
    monkeypatch.setenv('COLUMNS', '160')
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setattr(sys, 'stderr', Terminal())
    with progress.track('train', 4, 'steps', start=1) as bar:
        bar.update(1, loss=0.5)
    assert '━' in sys.stderr.getvalue()
    shown = re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', sys.stderr.getvalue())
    assert '2/4 steps' in shown
    assert 'ETA' in shown
    assert 'loss 0.5' in shown


def test_work_goes_on_where_nobody_reads(clock, monkeypatch, unread):
    monkeypatch.setattr(sys, 'stderr', unread)
    monkeypatch.setattr(sys, 'stdout', unread)
    progress.say('begun')
    with progress.track('train', 20, 'steps') as bar:
        for _ in range(20):
            clock[0] += 1.0
            bar.update(1)
    progress.say('done')


def test_a_table_that_nobody_reads_ends_nothing(monkeypatch, unread):
    monkeypatch.setattr(sys, 'stdout', unread)
    console = Console()
    for line in ('a', 'b'):
        console.print(line)

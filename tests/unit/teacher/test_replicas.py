"""Copies of a model in processes of their own, with an engine that needs none."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from fsa_jax.errors import Unreachable
from fsa_jax.teacher.replicas import Replicas
from tests.conftest import REPOSITORY


class Waiting:
    """An engine that only tells its process."""

    def __init__(self):
        self.teacher = str(os.getpid())

    def answers(self, requests):
        yield from requests

    def close(self):
        """Nothing is held."""


def hold():
    """Two copies, until this process is killed."""
    copies = Replicas(Waiting, 2, 1, 1)
    print(*(copy.pid for copy in copies._copies), flush=True)
    time.sleep(600)


class Failing(Waiting):
    """An engine that fails after two answers, or whose process dies then."""

    def __init__(self, dies):
        super().__init__()
        self.dies = dies

    def answers(self, requests):
        for number, request in enumerate(requests):
            if number == 2 and self.dies:
                os._exit(3)
            if number == 2:
                raise RuntimeError('CUDA error')
            yield request


def fail(dies):
    """Copies that fail while more is asked than a pipe holds."""
    copies = Replicas(partial(Failing, dies), 2, 1, 512)
    try:
        list(copies.answers('p' * 2000 for _ in range(2000)))
    except Unreachable as error:
        print(error)
    finally:
        copies.close()


@pytest.mark.parametrize(
    ('dies', 'said'), [(False, 'stopped: RuntimeError'), (True, 'died (exit status 3)')]
)
def test_a_run_ends_when_a_copy_fails(dies, said):
    run = subprocess.run(
        [sys.executable, '-c', f'from {__name__} import fail; fail({dies})'],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip
    assert said in run.stdout


def test_copies_end_with_a_run_that_is_killed():
    run = subprocess.Popen(
        [sys.executable, '-c', f'from {__name__} import hold; hold()'],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    copies = [int(pid) for pid in run.stdout.readline().split()]
    assert len(copies) == 2
    run.send_signal(signal.SIGKILL)
    run.communicate()
    until = time.monotonic() + 30
    while any(map(is_alive, copies)):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_alive(pid):
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False

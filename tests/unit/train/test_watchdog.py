"""A run that does nothing any more, in a process of its own: it ends with its stacks."""

import subprocess
import sys

from fsa_jax.hosts import EXIT_HUNG
from tests.conftest import REPOSITORY

SCRIPT = """
import sys, time
from fsa_jax.hosts import Hosts
from fsa_jax.train.watchdog import Watchdog

def waiting_for_a_disk():
    time.sleep(60)

with Watchdog({minutes}, Hosts()) as watchdog:
    time.sleep(1.0)  # compiling: nothing has been done yet
    for step in range(3):
        watchdog.beat(f'step {{step}}')
        time.sleep(0.1)
    if {hangs}:
        waiting_for_a_disk()
print('done')
"""


def run(minutes, hangs):
    return subprocess.run(
        [sys.executable, '-c', SCRIPT.format(minutes=minutes, hangs=hangs)], cwd=REPOSITORY,
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def test_a_hang_ends_with_the_stacks():
    done = run(0.01, True)
    assert done.returncode == EXIT_HUNG
    assert 'since step 2: it hangs (TrainConfig.hang_minutes=0.01)' in done.stderr
    assert 'in waiting_for_a_disk' in done.stderr


def test_work_that_goes_on_is_left_alone():
    assert run(0.01, False).stdout == 'done\n'

"""One run at a time in an output folder."""

import os
import signal
import subprocess
import sys

import pytest

from fsa_jax import configs, lock, manifest
from fsa_jax.errors import UserError

HOLDER = """
import os, sys, time
from pathlib import Path
from fsa_jax import lock
with lock.held(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path/run, and a child of it that outlives it."""
    command = [sys.executable, '-c', HOLDER, str(tmp_path / 'run')]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        try:
            yield process
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)


def write(folder):
    with manifest.output(folder, 'pack', [configs.PackConfig()]) as out:
        (out.folder / 'text').write_text('x')


def test_a_folder_in_use_is_refused_until_its_run_is_dead(tmp_path, holder):
    with pytest.raises(
        UserError, match=f'is being written by another run .process {holder.pid} on'
    ):
        write(tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
    write(tmp_path / 'other')
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    write(tmp_path / 'run')
    assert {path.name for path in tmp_path.iterdir()} == {'run', 'other'}


def test_only_one_of_many_holds_it(tmp_path):
    """They come and go at once, so that a lock's file is often removed while another opens it."""
    script = """
import os, sys, time
from pathlib import Path
from fsa_jax import lock
from fsa_jax.errors import UserError
held = 0
inside = Path(sys.argv[1] + '-inside')
until = time.monotonic() + 2
while time.monotonic() < until:
    try:
        with lock.held(Path(sys.argv[1])):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            inside.unlink()
            held += 1
    except UserError:
        pass
print(held)
"""
    command = [sys.executable, '-c', script, str(tmp_path / 'run')]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [int(process.communicate(timeout=60)[0]) for process in both]
    assert all(counts), counts
    assert [process.returncode for process in both] == [0, 0, 0]


def test_a_file_system_without_locks_holds_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, 'Operation not supported')

    monkeypatch.setattr(lock.fcntl, 'lockf', refuse)
    with lock.held(tmp_path / 'run'):
        pass
    assert not list(tmp_path.iterdir())

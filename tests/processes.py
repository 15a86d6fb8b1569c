"""`fsa` as real processes: several that form one run, with some (fake) devices each."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fsa_jax.configs import to_gin
from fsa_jax.train import checkpoint
from tests import training
from tests.conftest import QUICK_LOOPS, REPOSITORY


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as s:
        s.bind(('localhost', 0))
        return s.getsockname()[1]


def environment(devices: int = 1, **variables: str) -> dict[str, str]:
    """That of a process with so many devices, and threads for them: where those are fewer, collectives of
    several processes wait for ever. Programs compile in the quick ways of tests/conftest.py."""
    flags = f'--xla_force_host_platform_device_count={devices} {QUICK_LOOPS}'
    return os.environ | {
        'XLA_FLAGS': flags,
        'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
        'JAX_PLATFORMS': 'cpu',
        'PJRT_NPROC': str(2 * devices),
        'PYTHONPATH': str(REPOSITORY),
        **variables,
    }


def kill_when(ready: Callable[[], bool], stage: str, *arguments: str) -> None:
    """Starts `fsa STAGE …` and sends it SIGKILL as soon as something is so; it must not end before."""
    command = [sys.executable, '-m', 'fsa_jax.cli', stage, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPOSITORY)
    while process.poll() is None and not ready():
        time.sleep(0.001)
    process.kill()
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()


class Group:
    """The processes of one run; their standard errors are in LOGS/<process>.log."""

    def __init__(self, processes: list[subprocess.Popen], logs: list[Path]):
        self.processes, self.logs = processes, logs

    def wait(self, timeout: float = 800) -> list[int]:
        """The exit statuses of all."""
        return [process.wait(timeout) for process in self.processes]

    def log(self, index: int = 0) -> str:
        """What a process wrote."""
        return self.logs[index].read_text()

    def kill(self) -> None:
        """SIGKILL to those that still run."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


@contextlib.contextmanager
def fsa(
    arguments: Sequence[object],
    logs: Path,
    processes: int = 1,
    devices: int = 1,
    each: Sequence[Sequence[object]] = (),
    folders: Sequence[Path] = (),
    module: str = 'fsa_jax.cli',
    **variables: str,
) -> Iterator[Group]:
    """`fsa ARGUMENTS` (or another module) in so many processes. `each` holds further arguments of each
    of them, `folders` where each runs."""
    logs.mkdir(parents=True, exist_ok=True)
    started, paths = [], []
    port = free_port()
    for index in range(processes):
        own = variables
        if processes > 1:
            own = own | {
                'JAX_COORDINATOR_ADDRESS': f'localhost:{port}',
                'JAX_NUM_PROCESSES': str(processes),
                'JAX_PROCESS_ID': str(index),
            }
        more = each[index] if each else ()
        command = [sys.executable, '-m', module, *map(str, [*arguments, *more])]
        path = logs / f'{index}.log'
        with open(path, 'w') as log:
            started.append(
                subprocess.Popen(
                    command,
                    cwd=folders[index] if folders else REPOSITORY,
                    env=environment(devices, **own),
                    stdout=log,
                    stderr=log,
                )
            )
        paths.append(path)
    group = Group(started, paths)
    try:
        yield group
    finally:
        group.kill()


# A small student; a run of it takes a second or two, its start some more.
KNOBS = {
    'd_model': 16, 'd_kv': 8, 'd_ff': 32, 'num_layers': 1, 'num_decoder_layers': 1,
    'steps': 20, 'save_every': 10, 'keep': 3, 'log_every': 1, 'tensorboard': False,
    'layout': 'packed', 'encoder_length': 32, 'decoder_length': 32, 'learning_rate': 1e-3,
    'validation_split': '', 'preset': 'fsdp',
}  # fmt: skip


class World:
    """A packed folder, and runs of `fsa` on it. `processes` have so many (fake) devices each."""

    def __init__(self, folder, spiece):
        self.folder = folder
        self.packed = training.pack(folder / 'packed', spiece, train=400)
        configs = training.configs(self.packed, folder / 'xla', **KNOBS)
        (folder / 'run.gin').write_text(to_gin(configs))

    def train(self, name, processes, devices, *more, **options):
        """The processes of `fsa train`, as a context; parameters are spread over all devices."""
        arguments = ['train', f'--gin_file={self.folder}/run.gin', f'--output={self.folder / name}']
        arguments.append(f'--gin.MeshConfig.fsdp={processes * devices}')
        logs = self.folder / f'{name}.logs'
        return fsa([*arguments, *more], logs, processes, devices, **options)

    def finish(self, name, processes, devices, *more, **options):
        """Trains to the end; the folder of the run."""
        with self.train(name, processes, devices, *more, **options) as group:
            assert group.wait() == [0] * processes, group.log()[-3000:]
        return self.folder / name


def after_a_save(group, folder, earlier=()):
    """Returns when a run has a checkpoint that it had not before."""
    deadline = time.monotonic() + 800
    while set(checkpoint.steps(folder)) <= set(earlier):
        assert group.processes[0].poll() is None, group.log()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.002)

"""`fsa` as real processes: several that form one run, with some (fake) devices each."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import REPOSITORY


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as s:
        s.bind(('localhost', 0))
        return s.getsockname()[1]


def environment(devices: int = 1, **variables: str) -> dict[str, str]:
    """That of a process with so many devices. Without most of XLA's optimisations programs compile in
    half the time."""
    flags = f'--xla_force_host_platform_device_count={devices}'
    return os.environ | {
        'XLA_FLAGS': flags,
        'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(REPOSITORY),
        **variables,
    }


class Group:
    """The processes of one run; their standard errors are in LOGS/<process>.log."""

    def __init__(self, processes: list[subprocess.Popen], logs: list[Path]):
        self.processes, self.logs = processes, logs

    def wait(self, timeout: float = 300) -> list[int]:
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

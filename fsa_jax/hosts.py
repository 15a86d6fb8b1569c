"""The processes that run a stage together. Standard library only: text stages never have others."""

import contextlib
import faulthandler
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

T = TypeVar('T')

EXIT_HUNG = os.EX_TEMPFAIL  # 75: the same command may well succeed


class Hosts:
    """One process alone; `fsa_jax.distributed.Together` is several.

    `main` is whether this one writes what is written once: manifests, metrics, predictions. All
    processes call the methods in the same order.
    """

    main = True
    index, count = 0, 1

    def __enter__(self) -> 'Hosts':
        return self

    def __exit__(self, kind, error, traceback) -> None:
        """Ends the others too where this one failed."""

    def first(self, task: Callable[[], T]) -> T:
        """What `task` returns (JSON), which the main process alone runs. The others wait, and raise
        what it raised."""
        return task()

    def agree(self, name: str, values: Mapping[str, Any]) -> None:
        """UserError, which names the first difference, unless every process has these values."""

    def all(self, name: str, here: bool) -> bool:
        """Whether it is so in every process."""
        return here

    def barrier(self, name: str) -> None:
        """Returns when every process has called it."""

    def hung(self, message: str) -> NoReturn:
        """Prints the stacks of all processes, and ends them with EXIT_HUNG."""
        with contextlib.suppress(BrokenPipeError):
            print(f'fsa: {message}\n{stacks()}', file=sys.stderr, flush=True)
        os._exit(EXIT_HUNG)


def stacks() -> str:
    """What every thread of this process is doing."""
    with tempfile.TemporaryFile('w+') as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()

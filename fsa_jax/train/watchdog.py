"""Ends a run that hangs: a device, a network or a disk that does not answer, and never will."""

import threading
import time

from fsa_jax.hosts import Hosts


class Watchdog:
    """A context in which more than `minutes` after a `beat` without another is a hang (0: never).

    All processes print their stacks and end with hosts.EXIT_HUNG. What comes before the first beat,
    compiling above all, may take as long as it does.
    """

    def __init__(self, minutes: float, hosts: Hosts):
        self._seconds, self._hosts = 60 * minutes, hosts
        self._over = threading.Event()
        self._last: tuple[float, str] | None = None

    def __enter__(self) -> 'Watchdog':
        if self._seconds:
            threading.Thread(target=self._watch, name='watchdog', daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()

    def beat(self, what: str) -> None:
        """Something was done: `what` is named when nothing follows."""
        self._last = time.monotonic(), what

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._seconds / 4)):
            if self._last is None:
                continue
            when, what = self._last
            silent = time.monotonic() - when
            if silent > self._seconds:
                self._hosts.hung(
                    f'process {self._hosts.index} has done nothing for {silent:.0f} s, since {what}: it '
                    f'hangs (TrainConfig.hang_minutes={self._seconds / 60:g})'
                )

"""Several copies of a model on one machine, each in a process of its own with its own devices.

The copies are independent: they share a queue of requests, so a quick one does more of them.
"""

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fsa_jax.errors import Unreachable, UserError
from fsa_jax.teacher.engine import Answer, Engine, Request

_END = 'end'
_POLL_SECONDS = 1.0  # between looks whether a copy has died


class Replicas:
    """An engine made of `count` engines; `make` builds one, in its own process."""

    def __init__(self, make: Callable[[], Engine], count: int, devices: int, window: int):
        """`devices`: accelerators of each copy; `window`: requests that one copy may hold."""
        context = multiprocessing.get_context('spawn')
        self._requests: Any = context.Queue()
        self._answers: Any = context.Queue()
        self._room = count * window
        self._copies = [
            context.Process(
                target=_serve,
                args=(make, _devices(i, devices), self._requests, self._answers),
                daemon=False,
            )
            for i in range(count)
        ]
        for copy in self._copies:
            copy.start()
        names = [self._next() for _ in self._copies]  # each says its name when it is ready
        self.teacher = names[0]

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """Answers of all copies as they come."""
        waiting, under_way = iter(requests), 0
        while True:
            while under_way < self._room:
                request = next(waiting, None)
                if request is None:
                    break
                self._requests.put(request)
                under_way += 1
            if not under_way:
                return
            yield self._next()
            under_way -= 1

    def close(self) -> None:
        """Ends the copies."""
        for _ in self._copies:
            self._requests.put(_END)
        for copy in self._copies:
            copy.join(30)
            if copy.is_alive():
                copy.kill()
        self._requests.cancel_join_thread()  # what nobody took would block the end of this process

    def _next(self) -> Any:
        """The next thing that a copy says; raised when it is an error, Unreachable when a copy died."""
        while True:
            try:
                said = self._answers.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                dead = [c for c in self._copies if not c.is_alive()]
                if not dead:
                    continue
                said = Unreachable(f'a copy of the model died (exit status {dead[0].exitcode})')
            if isinstance(said, Exception):
                self._requests.cancel_join_thread()  # its pipe may be full, and nobody reads on
                for copy in self._copies:
                    copy.kill()
                raise said
            return said


def _devices(index: int, count: int) -> str:
    """CUDA_VISIBLE_DEVICES of the copy `index`."""
    shown = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    names = shown.split(',') if shown else [str(i) for i in range((index + 1) * count)]
    return ','.join(names[index * count : (index + 1) * count])


def _end_with(parent: Any) -> None:
    """Ends this copy when the run that it is of is killed: nobody else would free its devices."""
    parent.join()
    os._exit(1)


def _serve(make, devices: str, requests, answers) -> None:
    """One copy: takes requests as its engine has room for them, until it gets _END."""
    os.environ['CUDA_VISIBLE_DEVICES'] = devices
    threading.Thread(
        target=_end_with, args=(multiprocessing.parent_process(),), daemon=True
    ).start()
    under_way = 0

    def taken() -> Iterator[Request | None]:
        """Requests of the queue; None, rather than waiting, while others are being answered."""
        nonlocal under_way
        while True:
            try:
                request = requests.get(block=not under_way)
            except queue.Empty:
                yield None
                continue
            if request == _END:
                return
            under_way += 1
            yield request

    try:
        engine = make()
        answers.put(engine.teacher)
        for answered in engine.answers(taken()):
            under_way -= 1
            answers.put(answered)
        engine.close()
    except UserError as error:
        answers.put(error)
    except BaseException as error:
        answers.put(Unreachable(f'a copy of the model stopped: {error!r}'))
        raise

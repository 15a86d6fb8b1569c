"""Several processes as one run: start-up, agreement, barriers, and an alarm that ends them together.

    with distributed.start(config) as hosts:       # before any other call of jax
        ...

What processes tell each other here goes through the coordinator's key-value store, on the network of
the hosts. Devices are not touched, so it works while they compute, or hang.
"""

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import jax
from jax._src.distributed import global_state  # the key-value store has no public name

from fsa_jax import manifest, progress, rendezvous
from fsa_jax.configs import DistributedConfig
from fsa_jax.errors import Unreachable, UserError, exit_status
from fsa_jax.hosts import EXIT_HUNG, Hosts, stacks

T = TypeVar('T')

_RAISED = {kind.__name__: kind for kind in (manifest.AlreadyDone, Unreachable)}

_LONG_MS = 24 * 3600 * 1000  # waits are ended by the alarm, not by the clock
_POLL_SECONDS = 1.0
_LAST_WORDS_SECONDS = 5.0  # for others to hear an alarm before this process is gone
_PATIENCE_SECONDS = 30.0  # for the listener to end a process whose own end was not the first
_ALARM = 'fsa/alarm'


def start(config: DistributedConfig) -> Hosts:
    """Joins the processes of this run; alone where nothing says that there are others.

    UserError where what is known of them is not enough, or they do not meet in time.
    """
    meet = rendezvous.find(config)
    if meet is None:
        return Hosts()
    try:
        jax.distributed.initialize(
            meet.coordinator or None,
            meet.processes,
            meet.process_id,
            cluster_detection_method=meet.cluster or 'deactivate',
            initialization_timeout=config.start_seconds,
            heartbeat_timeout_seconds=config.heartbeat_seconds,
            shutdown_timeout_seconds=config.heartbeat_seconds,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f'the processes of this run did not meet: {str(error).strip().splitlines()[0][:200]}; look '
            'at DistributedConfig.coordinator, processes, process_id and start_seconds'
        ) from error
    return Together() if global_state.num_processes > 1 else Hosts()


class Together(Hosts):
    """The processes that jax.distributed joined."""

    def __init__(self):
        self._client: Any = global_state.client
        self.index, self.count = global_state.process_id, global_state.num_processes
        self.main = self.index == 0
        self._numbers = itertools.count()  # alike in all processes, as they call in the same order
        self._over = threading.Event()
        self._listener = threading.Thread(target=self._listen, name='alarm', daemon=True)

    def __enter__(self) -> 'Together':
        self._listener.start()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None or issubclass(kind, (SystemExit, manifest.AlreadyDone)):
            self._over.set()
            return  # in all of them
        status = exit_status(error)
        first = self._sound('failed', str(error) or kind.__name__, status)
        if status == 1 and not first:
            # The end of another process broke what was on its way here: the listener ends this one as that one told.
            self._listener.join(_PATIENCE_SECONDS)
        self._over.set()
        # The ways out of Python wait for threads, and those for processes that are gone.
        threading.Thread(target=self._leave, args=(status,), daemon=True).start()

    # -- agreement -----------------------------------------------------------------------------

    def first(self, task: Callable[[], T]) -> T:
        key = self._key('first')
        if self.main:
            try:
                result = task()
            except (UserError, manifest.AlreadyDone) as error:
                self._set(key, [type(error).__name__, str(error)])
                raise
            self._set(key, ['', result])
            return result
        kind, value = self._get(key)
        if kind:
            raise _RAISED.get(kind, UserError)(value)
        return value

    def agree(self, name: str, values: Mapping[str, Any]) -> None:
        everywhere = self._gather(name, dict(values))
        for index, there in enumerate(everywhere):
            for key in sorted(there.keys() | everywhere[0].keys()):
                ours, theirs = everywhere[0].get(key), there.get(key)
                if ours != theirs:
                    raise UserError(
                        f'process {index} has another {name} than process 0: {key} is {theirs!r} on '
                        f'process {index} and {ours!r} on process 0'
                    )

    def all(self, name: str, here: bool) -> bool:
        return all(self._gather(name, here))

    def barrier(self, name: str) -> None:
        self._client.wait_at_barrier(self._key(name), _LONG_MS)

    def _gather(self, name: str, value: Any) -> list[Any]:
        """The value of every process."""
        key = self._key(name)
        self._set(f'{key}/{self.index}', value)
        return [self._get(f'{key}/{index}') for index in range(self.count)]

    def _key(self, name: str) -> str:
        return f'fsa/{next(self._numbers)}/{name}'

    def _set(self, key: str, value: Any) -> None:
        self._client.key_value_set(key, json.dumps(value))

    def _get(self, key: str) -> Any:
        return json.loads(self._client.blocking_key_value_get(key, _LONG_MS))

    # -- the alarm -----------------------------------------------------------------------------

    def hung(self, message: str) -> NoReturn:
        self._sound('hung', message, EXIT_HUNG)
        self._report_hang(message)

    def _sound(self, kind: str, message: str, status: int) -> bool:
        """Tells all processes; False where another was first, or the coordinator is gone."""
        try:
            self._set(_ALARM, {'from': self.index, 'kind': kind, 'text': message, 'status': status})
        except jax.errors.JaxRuntimeError:
            return False
        return True

    def _listen(self) -> None:
        """Ends this process when another failed or hangs, or the coordinator is gone."""
        missed = 0
        while not self._over.wait(_POLL_SECONDS):
            try:
                heard = json.loads(self._client.key_value_try_get(_ALARM))
            except jax.errors.JaxRuntimeError as error:
                missed = 0 if 'NOT_FOUND' in str(error) else missed + 1
                if missed > 5:
                    _end('process 0 cannot be reached any more; this one ends too', 1)
                continue
            if heard['kind'] == 'hung':
                self._report_hang(heard['text'])
            who, text = heard['from'], heard['text']
            if self.main:  # the last to go: JAX aborts a process whose coordinator is gone
                time.sleep(_LAST_WORDS_SECONDS)
            _end(f'process {who} failed: {text}; this one ends too', heard['status'])

    def _report_hang(self, message: str) -> NoReturn:
        """Process 0 prints the stacks of all, so that one log holds them."""
        mine = stacks()
        if not self.main:
            self._set(f'fsa/stacks/{self.index}', mine)
            _end(f'{message}\n{mine}', EXIT_HUNG)
        parts = [f'process 0:\n{mine}']
        for index in range(1, self.count):
            key = f'fsa/stacks/{index}'
            try:
                there = json.loads(self._client.blocking_key_value_get(key, 10_000))
            except jax.errors.JaxRuntimeError:
                there = 'no answer\n'
            parts.append(f'process {index}:\n{there}')
        # Last: JAX aborts a process whose coordinator is gone, whatever it was about to say.
        time.sleep(_LAST_WORDS_SECONDS)
        _end('\n'.join([message, *parts]), EXIT_HUNG)

    def _leave(self, status: int) -> None:
        time.sleep(_LAST_WORDS_SECONDS if self.main else _LAST_WORDS_SECONDS / 2)
        os._exit(status)


def _end(message: str, status: int) -> NoReturn:
    progress.tell(f'fsa: {message}')
    os._exit(status)

"""Batches on their way to the devices: made and sent by a thread, a few steps ahead."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import Sharding

from fsa_jax.data.rows import Rows
from fsa_jax.partition import Partition

T = TypeVar('T')
_AHEAD = 2  # batches that wait on the devices: enough to hide the host, small beside the model


@dataclass(frozen=True)
class Fed:
    """The batch of a step on the devices, arrays [microbatch, row, slot], and what it holds.

    `pairs` and `tokens` (real ones, of inputs and targets) are those of the whole batch; `epoch` is
    that of the step, and `ends_epoch` whether it is the last of it.
    """

    step: int
    arrays: dict[str, Array]
    pairs: int
    tokens: int
    epoch: int
    ends_epoch: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, encoder slots, decoder slots) of the whole batch, of all seeds that train together."""
        *rows, source = self.arrays['encoder_input_tokens'].shape
        return math.prod(rows), source, self.arrays['decoder_target_tokens'].shape[-1]


class Feed:
    """Makes the batch of any step; each process reads only the rows that its devices hold."""

    def __init__(self, rows: Rows, partition: Partition):
        self._rows, self._sharding = rows, partition.microbatches
        self._shape = (rows.config.microbatches, rows.config.batch_size // rows.config.microbatches)
        self._local = local_rows(self._sharding, self._shape)

    def at(self, step: int) -> Fed:
        """The batch of a step."""
        batch = self._rows.batch_at(step, rows=self._local)
        epoch, _ = self._rows.epoch_at(step)
        ends_epoch = self._rows.epoch_at(step + 1)[1] == 0
        arrays = {name: self._place(x) for name, x in batch.items()}
        pairs, tokens = self._rows.pairs_at(step), self._rows.tokens_at(step)
        return Fed(step, arrays, pairs, tokens, epoch, ends_epoch)

    def _place(self, x: np.ndarray) -> Array:
        microbatches = x.reshape(self._shape[0], -1, x.shape[1])
        return jax.make_array_from_process_local_data(
            self._sharding, microbatches, (*self._shape, x.shape[1])
        )


def local_rows(sharding: Sharding, shape: tuple[int, int]) -> np.ndarray:
    """Numbers of the rows, of a batch [microbatch, row], that lie on this process's devices."""
    held = np.zeros(shape, bool)
    for index in sharding.addressable_devices_indices_map(shape).values():
        held[index] = True
    return np.flatnonzero(held)


def prefetch(make: Callable[[int], T], steps: Iterable[int]) -> Generator[T, None, None]:
    """`map(make, steps)`, made in order by a thread that runs ahead."""
    with ThreadPoolExecutor(1, thread_name_prefix='feed') as thread:
        waiting: deque[Future[T]] = deque()
        try:
            for step in steps:
                waiting.append(thread.submit(make, step))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

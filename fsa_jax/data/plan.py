"""Which pairs an epoch holds, and which of them share a row: pure in (lengths, rates, seed, epoch).

Orders come from the raw stream of a Philox generator, which NumPy keeps stable across versions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from fsa_jax.data.packing import pack
from fsa_jax.data.store import ragged_index


@dataclass(frozen=True)
class Plan:
    """Rows of pairs: row r holds `pairs[starts[r]:starts[r + 1]]`."""

    pairs: Int[np.ndarray, 'n']
    starts: Int[np.ndarray, 'rows+1']

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, rows: Int[np.ndarray, 'r']) -> tuple[np.ndarray, np.ndarray]:
        """(pairs of these rows one after the other, how many each row has); rows past the end are empty."""
        inside = np.minimum(rows, len(self) - 1)
        counts = np.where(rows < len(self), self.starts[inside + 1] - self.starts[inside], 0)
        return self.pairs[ragged_index(self.starts[inside], counts)], counts


def permutation(n: int, *key: int) -> Int[np.ndarray, 'n']:
    """A permutation of range(n), pure in the numbers of `key`."""
    raw = np.random.Philox(np.random.SeedSequence(key)).random_raw(n)
    return np.argsort(raw, kind='stable').astype(np.int32)


def epoch_counts(sizes: Sequence[int], rates: Sequence[float], epoch: str) -> list[int]:
    """Pairs that each task gives to an epoch, by its mixture rate.

    The epoch has as many pairs as all tasks together ('total'), or ends when the largest task has
    been read once ('largest').
    """
    share = np.asarray(rates, np.float64) / np.sum(rates)
    active = share > 0
    if epoch == 'largest':
        largest = int(np.argmax(np.where(active, sizes, 0)))
        pairs = sizes[largest] / share[largest]
    else:
        pairs = np.sum(sizes, where=active)
    return np.where(active, np.maximum(np.rint(pairs * share), 1), 0).astype(int).tolist()


def draw(
    sizes: Sequence[int], counts: Sequence[int], *, seed: int, epoch: int, shuffle: bool
) -> Int[np.ndarray, 'n']:
    """The pairs of an epoch in order: indices into all tasks laid end to end.

    A task is an endless stream of its own passes (it restarts when exhausted), of which epoch e
    takes the stretch from `e * counts[t]` on, so every pair is read equally often.
    """
    bases = np.cumsum([0, *sizes])
    parts = [
        bases[t] + _stretch(sizes[t], epoch * count, count, (seed, t) if shuffle else None)
        for t, count in enumerate(counts)
        if count
    ]
    pairs = np.concatenate(parts).astype(np.int32)
    if shuffle:
        return pairs[permutation(len(pairs), seed, len(sizes), epoch)]
    evenly = np.concatenate([(np.arange(len(part)) + 0.5) / len(part) for part in parts])
    return pairs[np.argsort(evenly, kind='stable')]


def _stretch(size: int, start: int, count: int, key: tuple[int, int] | None) -> np.ndarray:
    """`count` pairs from place `start` on of the endless passes over `range(size)`."""
    first, last = start // size, (start + count - 1) // size
    passes = [
        np.arange(size) if key is None else permutation(size, *key, number)
        for number in range(first, last + 1)
    ]
    skipped = start - first * size
    return np.concatenate(passes)[skipped : skipped + count]


def plan_pairs(pairs: Int[np.ndarray, 'n']) -> Plan:
    """One pair a row, in order."""
    return Plan(pairs, np.arange(len(pairs) + 1))


def plan_packed(
    pairs: Int[np.ndarray, 'n'],
    lengths: Int[np.ndarray, 'n 2'],
    capacity: tuple[int, int],
    key: tuple[int, ...] | None,
) -> Plan:
    """Several pairs a row of `capacity` slots; rows shuffled by `key`. `lengths` are those of `pairs`."""
    order, starts = pack(lengths, capacity)
    plan = Plan(pairs[order], starts)
    if key is None:
        return plan
    shuffled, counts = plan.rows(permutation(len(plan), *key))
    return Plan(shuffled, np.cumsum([0, *counts]))

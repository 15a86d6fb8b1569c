"""Candidates for a sample, kept in bounded memory while a dump streams by.

Each review has a priority, a hash of its words and the seed: drawing a cell's smallest priorities is
drawing without replacement, whatever the order of the input (bottom-k sampling, Cohen and Kaplan,
PODC 2007). A larger sample of one seed holds the smaller one.
"""

from array import array

import numpy as np


class Pool:
    """The `limit` candidates of the smallest priorities (0: all of them), each with a number."""

    def __init__(self, limit: int):
        self._limit = limit
        self._priorities, self._numbers = array('Q'), array('Q')
        self._bound = 1 << 64

    def takes(self, priority: int) -> bool:
        """Whether a candidate may still be among the smallest."""
        return priority < self._bound

    def add(self, priority: int, number: int) -> None:
        """Keeps a candidate that the pool takes."""
        self._priorities.append(priority)
        self._numbers.append(number)
        if self._limit and len(self._numbers) >= 2 * self._limit:
            self._prune()

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """(priorities, numbers), both [n] uint64, by priority; at most `limit`."""
        priorities, numbers = self._arrays()
        order = np.argsort(priorities, kind='stable')[: self._limit or None]
        return priorities[order], numbers[order]

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self._priorities, np.uint64), np.array(self._numbers, np.uint64)

    def _prune(self) -> None:
        priorities, numbers = self._arrays()
        kept = np.sort(np.argpartition(priorities, self._limit)[: self._limit])
        self._priorities = array('Q', priorities[kept].tobytes())
        self._numbers = array('Q', numbers[kept].tobytes())
        self._bound = int(priorities[kept].max())

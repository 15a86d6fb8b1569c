"""Reviews that may still be drawn: their text waits in a file, 16 bytes of each in memory."""

from collections import Counter
from typing import BinaryIO

import numpy as np

from fsa_jax import records
from fsa_jax.configs import ReviewsConfig
from fsa_jax.corpus.near_duplicates import NearDuplicates
from fsa_jax.corpus.pool import Pool
from fsa_jax.corpus.shares import Cell, check_filled, targets
from fsa_jax.corpus.words import words
from fsa_jax.errors import UserError
from fsa_jax.progress import track
from fsa_jax.records import Review

_SPARE = 1000  # candidates beyond twice the sample, that near duplicates may use up


class Candidates:
    """Takes reviews as they come, in any number; then draws."""

    def __init__(self, config: ReviewsConfig, file: BinaryIO):
        self._config, self._file, self._end = config, file, 0
        self._pools: dict[Cell, Pool] = {}
        size = sum(config.quotas) if config.balance == 'quotas' else config.size
        self._limit = 2 * size + _SPARE if size and config.near_duplicates else size
        self.there: Counter[Cell] = Counter()

    def takes(self, cell: Cell, priority: int) -> bool:
        """Counts a review; whether it may be drawn, so that `add` wants it."""
        self.there[cell] += 1
        if cell not in self._pools:
            self._pools[cell] = Pool(self._limit)
        return self._pools[cell].takes(priority)

    def add(self, cell: Cell, priority: int, review: Review) -> None:
        """Keeps a review that `takes` wanted."""
        line = f'{records.to_json(review)}\n'.encode()
        self._pools[cell].add(priority, self._end)
        self._file.write(line)
        self._end += len(line)

    def at(self, place: int) -> Review:
        """The review that was written at a place of the file."""
        self._file.seek(place)
        return records.from_json(Review, self._file.readline().decode(), 'sample')

    def draw(self) -> tuple[dict[Cell, list[int]], int]:
        """(places of the reviews drawn, by cell and in order of priority; near duplicates dropped).

        Raises UserError when a cell cannot be filled.
        """
        fixed = self._limit > 0
        wanted = targets(self.there, self._config) if fixed else dict(self.there)
        chosen: dict[Cell, list[int]] = {cell: [] for cell in wanted}
        near = self._config.near_duplicates
        index = NearDuplicates(near, lambda place: words(self.at(place).text)) if near else None
        dropped = 0
        with track('draw', sum(wanted.values()), 'reviews') as bar:
            for cell, place in self._by_priority():
                if len(chosen.get(cell, ())) >= wanted.get(cell, 0):
                    continue
                if index and index.add(place, words(self.at(place).text)) is not None:
                    dropped += 1
                    continue
                chosen[cell].append(place)
                bar.update()
        left = {cell: len(places) for cell, places in chosen.items()}
        if fixed:
            self._check(wanted, left, dropped)
        else:
            wanted = targets(left, self._config)
        return {cell: chosen.get(cell, [])[:count] for cell, count in wanted.items()}, dropped

    def _check(self, wanted: dict[Cell, int], left: dict[Cell, int], dropped: int) -> None:
        """UserError when near duplicates left too few of a cell."""
        short = {cell: left[cell] for cell, count in wanted.items() if left[cell] < count}
        if any(self.there[cell] > self._limit for cell in short):
            raise UserError(
                f'{dropped:,} near duplicates used up the candidates, {self._limit:,} of each rating; '
                'raise ReviewsConfig.near_duplicates, or set 0 to keep them'
            )
        check_filled(wanted, {**self.there, **short}, self._config)

    def _by_priority(self):
        """(cell, place) of all candidates, those of the smallest priority first."""
        cells = list(self._pools)
        pools = [self._pools[cell].sorted() for cell in cells]
        if not pools:
            return
        priorities = np.concatenate([p for p, _ in pools])
        places = np.concatenate([n for _, n in pools])
        owners = np.repeat(np.arange(len(cells), dtype=np.uint8), [len(p) for p, _ in pools])
        for i in np.argsort(priorities, kind='stable'):
            yield cells[owners[i]], int(places[i])


def in_order(drawn: dict[Cell, list[int]]) -> list[int]:
    """All places so that every prefix has about the shares of the whole."""
    ranks = [(np.arange(len(places)) + 0.5) / len(places) for places in drawn.values() if places]
    places = [place for places in drawn.values() for place in places]
    return [places[i] for i in np.argsort(np.concatenate(ranks), kind='stable')]

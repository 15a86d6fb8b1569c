"""What became of every review of a dump, as a table for people and as counts for the manifest."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from fsa_jax.console import Console
from fsa_jax.corpus.screen import LONG, NO_RATING, NO_TEXT, SHORT
from fsa_jax.corpus.shares import Cell

EXACT = 'exact duplicate'
BENCHMARK = 'holds a benchmark sentence (set aside)'
NOT_ANALYSED = 'no opinions in the earlier analysis'
NEAR = 'near duplicate'
_REASONS = {
    NO_TEXT: 'ReviewsConfig.text_field',
    SHORT: 'ReviewsConfig.min_characters',
    LONG: 'ReviewsConfig.max_characters',
    NO_RATING: 'ReviewsConfig.rating_field',
    EXACT: '',
    BENCHMARK: 'ReviewsConfig.benchmarks',
    NOT_ANALYSED: 'ReviewsConfig.implicit_from',
}


@dataclass
class Tally:
    """Reviews by reason dropped, by cell that they passed to, and by cell drawn from."""

    dropped: Counter[str] = field(default_factory=Counter)
    there: Counter[Cell] = field(default_factory=Counter)
    drawn: dict[Cell, int] = field(default_factory=dict)
    near: int = 0
    renamed: int = 0

    @property
    def read(self) -> int:
        """All reviews of the dump."""
        return self.dropped.total() + self.there.total()

    def counts(self) -> dict[str, Any]:
        """All of it for the manifest."""
        drawn = sum(self.drawn.values())
        return {
            'read': self.read,
            'dropped': {reason: n for reason in _REASONS if (n := self.dropped[reason])},
            'passed': self.there.total(),
            'near_duplicates': self.near,
            'reviews': drawn,
            'passed_by_stars': _by_stars(self.there),
            'reviews_by_stars': _by_stars(self.drawn),
            'ids_renamed': self.renamed,
        } | (
            {'implicit_passed': _implicit(self.there), 'implicit_reviews': _implicit(self.drawn)}
            if any(implicit is not None for _, implicit in self.there)
            else {}
        )

    def nothing_left(self, path: str) -> str:
        """The error when no review passed: the reason that took most, and its knob."""
        if not self.read:
            return f'{path} holds no reviews'
        reason, count = self.dropped.most_common(1)[0]
        knob = f' ({_REASONS[reason]})' if _REASONS[reason] else ''
        return f'all {self.read:,} reviews of {path} are dropped; {count:,} of them: {reason}{knob}'

    def show(self) -> None:
        """Prints what was dropped and why, and what passed and was drawn by rating and kind."""
        drawn = sum(self.drawn.values())
        rows = [(reason, self.dropped[reason]) for reason in _REASONS if self.dropped[reason]]
        if self.drawn:
            rows += [(NEAR, self.near), ('not drawn', self.there.total() - drawn - self.near)]
            rows.append(('[bold]drawn', drawn))
        else:
            rows.append(('[bold]passed', self.there.total()))
        table = _table(f'{self.read:,} reviews read', '', 'reviews', 'share')
        for name, count in rows:
            table.add_row(name, f'{count:,}', _share(count, self.read))
        Console().print(table)
        if len(self.there) > 1:
            Console().print(self._cells())

    def _cells(self) -> Table:
        columns = {'passed': self.there} | ({'drawn': self.drawn} if self.drawn else {})
        table = _table('by rating', '', *(n for name in columns for n in (name, 'share')))
        for cell in sorted(self.there, key=str):
            pairs = [_pair(cell, counts) for counts in columns.values()]
            table.add_row(_name(cell), *itertools.chain(*pairs))
        return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for name in columns:
        table.add_column(name, justify='right' if name else 'left')
    return table


def _name(cell: Cell) -> str:
    stars, implicit = cell
    kind = {True: ', implicit', False: ', explicit', None: ''}[implicit]
    return (f'{stars} star{"s" * (stars > 1)}' if stars else 'not rated') + kind


def _pair(cell: Cell, counts: Mapping[Cell, int]) -> tuple[str, str]:
    count = counts.get(cell, 0)
    return f'{count:,}', _share(count, sum(counts.values()))


def _share(count: int, whole: int) -> str:
    return f'{count / max(1, whole):.1%}'


def _by_stars(counts: Mapping[Cell, int]) -> dict[str, int]:
    summed: Counter[int] = Counter()
    for (stars, _), count in counts.items():
        summed[stars] += count
    return {str(stars or 'not rated'): summed[stars] for stars in sorted(summed)}


def _implicit(counts: Mapping[Cell, int]) -> int:
    return sum(count for (_, implicit), count in counts.items() if implicit)

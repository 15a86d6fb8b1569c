"""Benchmark sentences inside reviews: a student must not have read what it is tested on."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fsa_jax.configs import ReviewsConfig
from fsa_jax.corpus.dumps import Dump, dump_files
from fsa_jax.corpus.words import words
from fsa_jax.errors import UserError

SHORT = 6
"""A sentence of fewer words is common speech: it counts only as a whole review."""


class Benchmark:
    """The sentences of a benchmark, to be found in the words of a review.

    A sentence is looked for only in a review that holds its first six words in a row.
    """

    def __init__(self, sentences: Iterable[str]):
        normal = {tuple(words(sentence)): None for sentence in sentences}
        normal.pop((), None)
        self.size = len(normal)
        self._short = {' '.join(s) for s in normal if len(s) < SHORT}
        self._by_head: dict[tuple[str, ...], list[str]] = {}
        for s in normal:
            if len(s) >= SHORT:
                self._by_head.setdefault(s[:SHORT], []).append(f' {" ".join(s)} ')
        self._heads = frozenset(self._by_head)

    def find(self, review: Sequence[str]) -> str | None:
        """A sentence (as words) that the words of a review hold in a row; None: none."""
        if len(review) < SHORT:
            whole = ' '.join(review)
            return whole if whole in self._short else None
        heads = self._heads.intersection(zip(*(review[i:] for i in range(SHORT))))
        if not heads:
            return None
        spaced = f' {" ".join(review)} '
        for head in sorted(heads):
            for sentence in self._by_head[head]:
                if sentence in spaced:
                    return sentence.strip()
        return None


def read_benchmark(paths: Sequence[str | Path]) -> Benchmark:
    """The sentences of all files and folders; UserError for one that holds none."""
    return Benchmark(sentence for path in paths for sentence in _sentences(path))


def _sentences(path: str | Path) -> Iterator[str]:
    there = False
    for columns, records in Dump(dump_files(path, 'ReviewsConfig.benchmarks'), ReviewsConfig()):
        for _, record in records:
            sentence = str(record.get(columns.text) or '')
            there = there or bool(words(sentence))
            yield sentence
    if not there:
        raise UserError(f'ReviewsConfig.benchmarks: {path} holds no sentence')

"""Benchmark sentences inside reviews: a student must not have read what it is tested on."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fsa_jax.configs import ReviewsConfig
from fsa_jax.corpus.dumps import Dump, dump_files
from fsa_jax.corpus.words import words

SHORT = 6
"""A sentence of fewer words is common speech: it counts only as a whole review."""


class Benchmark:
    """The sentences of a benchmark, to be found in the words of a review.

    Each is looked for where a review holds its rarest word, so that most reviews cost one
    intersection of sets.
    """

    def __init__(self, sentences: Iterable[str]):
        normal = {tuple(words(sentence)): None for sentence in sentences}
        normal.pop((), None)
        self._short = {' '.join(s) for s in normal if len(s) < SHORT}
        frequency = Counter(word for s in normal for word in {*s})
        self._by_word: dict[str, list[str]] = {}
        for s in normal:
            if len(s) >= SHORT:
                rarest = min(s, key=lambda word: (frequency[word], -len(word), word))
                self._by_word.setdefault(rarest, []).append(f' {" ".join(s)} ')
        self._words = frozenset(self._by_word)
        self.size = len(normal)

    def find(self, review: Sequence[str]) -> str | None:
        """A sentence (as words) that the words of a review hold in a row; None: none."""
        shared = self._words.intersection(review)
        joined = ' '.join(review)
        if joined in self._short:
            return joined
        if shared:
            spaced = f' {joined} '
            for word in sorted(shared):
                for sentence in self._by_word[word]:
                    if sentence in spaced:
                        return sentence.strip()
        return None


def read_benchmark(paths: Sequence[str | Path]) -> Benchmark:
    """The sentences of all files and folders; UserError for one that holds none."""
    files = [file for path in paths for file in dump_files(path, 'ReviewsConfig.benchmarks')]
    return Benchmark(_sentences(files))


def _sentences(files: list[Path]) -> Iterator[str]:
    for columns, records in Dump(files, ReviewsConfig()):
        for _, record in records:
            yield str(record.get(columns.text) or '')

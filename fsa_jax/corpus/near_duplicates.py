"""Near duplicates: reviews that share most of their word triples.

MinHash bands find the pairs to look at (Leskovec et al., Mining of Massive Datasets, ch. 3); their
Jaccard similarity is then computed exactly, so no review is dropped by chance, and of the pairs at
the very threshold one in a hundred is missed. The table of bands is ours: it takes a third of
the memory of the library's index.
"""

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

_SHINGLE = 3  # words
_PERMUTATIONS = 64
_RECALL = 0.99  # of pairs at the threshold
_MIX = np.random.default_rng(0).integers(1, 2**64, _PERMUTATIONS, np.uint64, endpoint=False)


class NearDuplicates:
    """Reviews kept so far, told by a number each; `words_of` gives the words of one of them again."""

    def __init__(self, threshold: float, words_of: Callable[[int], Sequence[str]]):
        from datasketch import MinHash  # 2 s: it imports scipy.integrate

        self.threshold, self._words_of = threshold, words_of
        self._rows = band_rows(threshold)
        self._seen: dict[int, int] = {}  # hash of a band -> the review that had it first
        self._empty = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=zlib.crc32)

    def add(self, number: int, words: Sequence[str]) -> int | None:
        """Keeps a review, or returns the number of one kept before that it nearly repeats."""
        own = shingles(words)
        bands = self._bands(own)
        found = dict.fromkeys(self._seen[band] for band in bands if band in self._seen)
        for other in found:
            if jaccard(own, shingles(self._words_of(other))) >= self.threshold:
                return other
        for band in bands:
            self._seen.setdefault(band, number)
        return None

    def _bands(self, own: set[str]) -> list[int]:
        signature = self._empty.copy()
        signature.update_batch([shingle.encode() for shingle in own])
        values = np.asarray(signature.hashvalues, np.uint64)
        whole = len(values) // self._rows * self._rows
        bands = values[:whole].reshape(-1, self._rows) @ _MIX[: self._rows]
        return (bands + _MIX[: len(bands)]).tolist()


def near_copies(texts: Sequence[Sequence[str]], threshold: float) -> int:
    """How many of a few texts, each as its words, nearly repeat one before them that does not.

    Exact: two sets that alike share one of their rarest members (prefix filter, Chaudhuri et al.,
    ICDE 2006).
    """
    sets = [shingles(text) for text in texts if text]
    common = Counter(shingle for own in sets for shingle in own)
    holders: dict[str, list[set[str]]] = defaultdict(list)
    copies = 0
    for own in sets:
        rarest = sorted(own, key=lambda shingle: (common[shingle], shingle))
        prefix = rarest[: len(own) - math.ceil(threshold * len(own)) + 1]
        near = {id(other): other for shingle in prefix for other in holders[shingle]}
        if any(jaccard(own, other) >= threshold for other in near.values()):
            copies += 1
            continue
        for shingle in prefix:
            holders[shingle].append(own)
    return copies


def shingles(words: Sequence[str]) -> set[str]:
    """The distinct runs of three words (a shorter text is one run)."""
    runs = max(1, len(words) - _SHINGLE + 1)
    return {' '.join(words[i : i + _SHINGLE]) for i in range(runs)}


def jaccard(one: set[str], other: set[str]) -> float:
    """Size of the intersection over that of the union."""
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def band_rows(threshold: float) -> int:
    """The most rows a band can have so that pairs at the threshold share one with chance _RECALL."""

    def recall(rows: int) -> float:
        return 1 - (1 - threshold**rows) ** (_PERMUTATIONS // rows)

    return max((r for r in range(1, _PERMUTATIONS + 1) if recall(r) >= _RECALL), default=1)

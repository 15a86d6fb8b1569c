"""Which labelled sentences a model is shown before the one it is asked about."""

from collections.abc import Sequence
from random import Random

Pair = tuple[str, str]  # (sentence, answer)


def choose(
    pool: Sequence[Pair], sentences: Sequence[str], k: int, choice: str, seed: int
) -> list[tuple[Pair, ...]]:
    """`k` demonstrations out of `pool` for each sentence, never the sentence itself.

    'random': those that a shuffle with `seed` puts first, the same for all sentences, so that an engine
    computes their part of the prompt once; fewer are the first of more. 'bm25': the most similar ones
    of each sentence, the most similar last.
    """
    if not k:
        return [() for _ in sentences]
    if choice == 'random':
        shuffled = list(pool)
        Random(seed).shuffle(shuffled)
        return [_first(k, shuffled, sentence) for sentence in sentences]
    return [
        _first(k, [pool[i] for i in ranked], sentence)[::-1]
        for ranked, sentence in zip(_similar(pool, sentences, k), sentences)
    ]


def _first(k: int, pairs: Sequence[Pair], sentence: str) -> tuple[Pair, ...]:
    """The first k that are not the sentence itself: some sentences are in two splits."""
    return tuple([pair for pair in pairs[: 2 * k + 8] if pair[0] != sentence][:k])


def _similar(pool: Sequence[Pair], sentences: Sequence[str], k: int) -> list[list[int]]:
    """Indices of the pool by falling BM25 score, for each sentence; enough to leave some out."""
    import bm25s

    def tokens(texts):
        return bm25s.tokenize(list(texts), stopwords=None, show_progress=False)

    index = bm25s.BM25()
    index.index(tokens(sentence for sentence, _ in pool), show_progress=False)
    count = min(2 * k + 8, len(pool))
    found, _ = index.retrieve(tokens(sentences), k=count, show_progress=False)
    return found.tolist()

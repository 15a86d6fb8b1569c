"""A text of any length as the parts that a student reads: sentences, or as many as fit together."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fsa_jax.data.json_records import without_halves

Span = tuple[int, int]
Length = Callable[[str], int]


@dataclass(frozen=True)
class Window:
    """Characters [start, end) of a text; `split` where it is part of a longer sentence."""

    start: int
    end: int
    split: bool = False


def windows(text: str, length: Length, limit: int, *, language: str, join: bool) -> list[Window]:
    """The sentences of `text`, in order; all that is not blank lies in exactly one window.

    A window has at most `limit` ids by `length`: a longer sentence is cut between words (`split`).
    `join` puts as many sentences in a window as fit, so a short review stays whole.
    """
    parts = [
        window
        for sentence in sentences(text, language)
        for window in _fitting(text, *sentence, length, limit)
    ]
    return _joined(text, parts, length, limit) if join else parts


def sentences(text: str, language: str) -> Iterator[Span]:
    """Spans of the sentences of `text` (sentencex), without the spaces around them."""
    import sentencex

    for boundary in sentencex.get_sentence_boundaries(language, without_halves(text)):
        start, end = boundary['start_index'], boundary['end_index']
        stripped = text[start:end].strip()
        if stripped:
            start += text[start:end].index(stripped)
            yield start, start + len(stripped)


def _fitting(text: str, start: int, end: int, length: Length, limit: int) -> Iterator[Window]:
    """The whole sentence where it fits, else runs of words that do."""
    if length(text[start:end]) <= limit:
        yield Window(start, end)
        return
    run: Span | None = None
    for match in re.finditer(r'\S+', text[start:end]):
        for word in _halves(text, start + match.start(), start + match.end(), length, limit):
            if run and length(text[run[0] : word[1]]) <= limit:
                run = run[0], word[1]
                continue
            if run:
                yield Window(*run, split=True)
            run = word
    if run:
        yield Window(*run, split=True)


def _halves(text: str, start: int, end: int, length: Length, limit: int) -> Iterator[Span]:
    """A word, in halves of halves where it alone is too long."""
    if end - start < 2 or length(text[start:end]) <= limit:
        yield start, end
        return
    middle = (start + end) // 2
    yield from _halves(text, start, middle, length, limit)
    yield from _halves(text, middle, end, length, limit)


def _joined(text: str, parts: list[Window], length: Length, limit: int) -> list[Window]:
    joined: list[Window] = []
    for part in parts:
        if joined and length(text[joined[-1].start : part.end]) <= limit:
            last = joined[-1]
            joined[-1] = Window(last.start, part.end, last.split or part.split)
        else:
            joined.append(part)
    return joined

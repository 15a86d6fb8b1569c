"""What a student found in a text, and how the findings of its parts become one. Standard library only."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

Span = tuple[int, int]  # characters [start, end) of the text
FLAGS = ('empty', 'split', 'cut', 'malformed', 'unrepresentable')


@dataclass(frozen=True)
class Found:
    """One opinion.

    `term` is what it is about, as it stands in the text at each of `spans`, or the student's own
    word where the text only implies it (no spans). With a `category` and no term, `spans` are the
    sentences that say it. `level` is one of records.SENTIMENT_LEVELS where the student gives five.
    `confidence` is a probability in [0, 1]: of its being right where `calibrated`, else only that of
    the student writing it.
    """

    polarity: str
    confidence: float
    calibrated: bool = False
    spans: tuple[Span, ...] = ()
    term: str = ''
    category: str = ''
    level: str = ''
    reasoning: str = ''


@dataclass(frozen=True)
class Extraction:
    """All that a student found in one text.

    `abstained` are the opinions below `min_confidence`. `generated` is what it wrote, a string for
    each part of the text that it read alone. `sentiment` (zero_shot) is the probability of each
    polarity of the whole. `flags`: 'empty', 'split' (a sentence was longer than the student reads,
    and was read in parts), 'cut' (what it wrote met the limit), 'malformed' (part of what it wrote
    is no opinion), 'unrepresentable' (constrained: it could not write some spans).
    """

    text: str
    opinions: tuple[Found, ...] = ()
    abstained: tuple[Found, ...] = ()
    generated: tuple[str, ...] = ()
    sentiment: dict[str, float] = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()


def merged(opinions: Iterable[Found]) -> tuple[Found, ...]:
    """Equal opinions (term, category, polarity, level) as one, with all their spans, in order.

    The confidence is that of the surest; the reasoning that of the first.
    """
    found: dict[tuple[str, str, str, str], Found] = {}
    for one in opinions:
        key = one.term, one.category, one.polarity, one.level
        same = found.get(key)
        if same is not None:
            one = dataclasses.replace(
                same,
                confidence=max(same.confidence, one.confidence),
                spans=tuple(sorted({*same.spans, *one.spans})),
            )
        found[key] = one
    return tuple(found.values())


class Places:
    """Where the terms of a text are: each call gives the next place that is not taken yet."""

    def __init__(self, text: str, offset: int = 0):
        self._text, self._offset = text, offset
        self._taken: dict[str, int] = {}

    def next(self, term: str) -> tuple[str, Span] | None:
        """(the term as it stands there, its span), whole words first; the first again where all are
        taken; None where the text does not have it, case aside."""
        places = self._places(term)
        if not term or not places:
            return None
        number = self._taken.get(term, 0)
        self._taken[term] = number + 1
        start = places[number] if number < len(places) else places[0]
        end = start + len(term)
        return self._text[start:end], (self._offset + start, self._offset + end)

    def _places(self, term: str) -> list[int]:
        for text, wanted in ((self._text, term), (self._text.lower(), term.lower())):
            if len(text) != len(self._text) or len(wanted) != len(term):
                continue  # lower case of another length: places would not be those of the text
            found = [i for i in range(len(text)) if text.startswith(wanted, i)] if wanted else []
            if found:
                return [i for i in found if self._is_word(i, i + len(term))] or found
        return []

    def _is_word(self, start: int, end: int) -> bool:
        before, after = self._text[start - 1 : start], self._text[end : end + 1]
        inside = self._text[start], self._text[end - 1]
        return not (
            (before.isalnum() and inside[0].isalnum()) or (after.isalnum() and inside[1].isalnum())
        )

"""What a teacher calls a sentiment -> one of the five levels -> a polarity."""

import functools
import re

from fsa_jax.records import SENTIMENT_LEVELS

VERY_NEGATIVE, NEGATIVE, MILD, POSITIVE, VERY_POSITIVE = SENTIMENT_LEVELS

_POLARITIES = {
    VERY_NEGATIVE: 'negative',
    NEGATIVE: 'negative',
    MILD: 'neutral',
    POSITIVE: 'positive',
    VERY_POSITIVE: 'positive',
}
_NOTHING = re.compile(
    r'n\W?a\b|none?\b|no\b|not\b|non[ -]|un(?!favou?rable)|cannot|indetermin|irrelevant|missing|unclear|\W*$'
)
_STRONG = re.compile(
    r'\b(?:very|extreme(?:ly)?|strong(?:ly)?|high(?:ly)?|overwhelming(?:ly)?|intense(?:ly)?|'
    r'exceptional(?:ly)?|super|really)\b'
)
_WORD = re.compile(
    r'\b(?:(?P<positive>positiv\w*|favou?rabl\w*)|(?P<negative>negativ\w*|unfavou?rabl\w*)|'
    r'(?P<mild>neutral\w*|mixed|balanced|ambivalent|mild(?!ly))\b)'
)
_LONGEST = 60  # characters looked at: a level is a few words
_FIRST_WORDS = 4  # a level is named among these, or the text is about something else


@functools.lru_cache(maxsize=4096)
def _level(text: str) -> str | None:
    clause = re.split(r'[,;:.(\n]|\s[-–—]+\s', text, maxsplit=1)[0]
    if _NOTHING.match(clause):
        stated = re.search(r'/\s*(.+)', clause)  # 'Unspecified/Neutral'
        return _level(stated[1]) if stated else None
    found = [(m.lastgroup, m) for m in _WORD.finditer(clause)]
    signs = [name for name, _ in found if name != 'mild']
    if not found or len(clause[: found[0][1].start()].split()) >= _FIRST_WORDS:
        return None
    if re.match(r'neutral|mixed|balanced|ambivalent', found[0][1][0]) or not signs:
        return MILD
    if len(set(signs)) > 1:
        return MILD
    first = next(m for name, m in found if name == signs[0])
    strong = bool(_STRONG.search(clause[: first.start()]))
    if signs[0] == 'positive':
        return VERY_POSITIVE if strong else POSITIVE
    return VERY_NEGATIVE if strong else NEGATIVE


def normalise_sentiment(raw: str) -> str | None:
    """The level that a teacher's words name, None where they say nothing.

    The prefix decides: very, extremely, … double a sign; mildly, slightly, … and a bare sign are
    Positive or Negative; Neutral, Mixed and a bare Mild are Mild Sentiment.
    """
    return _level(raw[:_LONGEST].strip(' \t"\'“”‘’*_`[]<>()').lower())


def polarity(level: str | None) -> str | None:
    """'positive', 'neutral' or 'negative' of a level; None of None."""
    return None if level is None else _POLARITIES[level]

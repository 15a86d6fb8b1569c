"""The filters that each review of a dump passes, the cheap ones first."""

import hashlib
import html
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from fsa_jax.corpus.dumps import Columns, Dump
from fsa_jax.corpus.words import words
from fsa_jax.data.json_records import without_halves
from fsa_jax.errors import UserError
from fsa_jax.records import Review

NO_TEXT = 'no text'
SHORT = 'too short'
LONG = 'too long'
NO_RATING = 'no rating'

_WHOLE = frozenset((1.0, 2.0, 3.0, 4.0, 5.0))
_BREAK = re.compile(r'\s*(?:<br\s*/?>|[\r\n])\s*')


class Passed(NamedTuple):
    """A review of legal length and rating; `number` counts the records of its file, from 1."""

    text: str
    rating: float | None
    domain: str
    number: int
    record: dict[str, Any]
    columns: Columns

    def review(self) -> Review:
        """The record that a sample holds of it; half a character becomes '?'."""
        parts = [self.record.get(name) for name in self.columns.id]
        known = parts and all(part is not None and str(part).strip() for part in parts)
        own = '-'.join(map(str, parts)) if known else f'{self.columns.source}-{self.number}'
        return Review(
            without_halves(own), without_halves(self.text), without_halves(self.domain), self.rating
        )


def read_passing(dump: Dump, dropped: Counter[str]) -> Iterator[Passed]:
    """The reviews that have a text of legal length and, where the dump has ratings, a rating.

    Line breaks become spaces, HTML entities what they stand for, and domains that want it are
    lower-cased. Raises UserError for a rating that is not 1 to 5 stars.
    """
    config = dump.config
    low, high = config.min_characters, config.max_characters
    for columns, records in dump:
        text_name, rating_name = columns.text, columns.rating
        for number, (where, record) in enumerate(records, 1):
            text = record.get(text_name)
            if text.__class__ is not str:
                dropped[NO_TEXT] += 1
                continue
            text = clean(text)
            if not low <= len(text) <= high:
                dropped[NO_TEXT if not text else SHORT if len(text) < low else LONG] += 1
                continue
            rating = None
            if rating_name:
                rating = record.get(rating_name)
                if rating.__class__ is not float or rating not in _WHOLE:
                    rating = to_rating(rating, where, rating_name)
                    if rating is None:
                        dropped[NO_RATING] += 1
                        continue
            domain = config.domain or (
                str(record.get(columns.domain) or '') if columns.domain else ''
            )
            if domain in config.lower_case:
                text = text.lower()
            yield Passed(text, rating, domain, number, record, columns)


class Seen:
    """Exact duplicates: the same words, whatever their case and punctuation.

    Takes about 100 bytes a review to know what it has seen.
    """

    def __init__(self, seed: int):
        self._key = str(seed).encode()
        self._seen: set[int] = set()

    def __call__(self, text: str) -> tuple[int, list[str]] | None:
        """(priority, words) of a text, None of one that was there before.

        The priority is a 64-bit hash of the words and the seed: a draw depends on nothing else.
        """
        own = words(text)
        digest = hashlib.blake2b(' '.join(own).encode(), digest_size=8, key=self._key).digest()
        priority = int.from_bytes(digest, 'little')
        if priority in self._seen:
            return None
        self._seen.add(priority)
        return priority, own


def clean(text: str) -> str:
    """The text on one line, HTML entities and line breaks resolved."""
    if '&' in text:
        text = html.unescape(text)
    if '\n' in text or '\r' in text or '<br' in text:
        text = _BREAK.sub(' ', text)
    return text.strip()


def to_rating(value: Any, where: str, name: str) -> float | None:
    """Stars as a number, None for null and ''; UserError for what is not within 1 to 5."""
    if value is None or value == '':
        return None
    try:
        rating = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        rating = math.nan
    if not 1 <= rating <= 5:
        raise UserError(
            f'{where}: expected 1 to 5 stars in {name!r} (ReviewsConfig.rating_field); got {value!r}'
        )
    return rating

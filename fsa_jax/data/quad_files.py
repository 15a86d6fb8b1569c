"""Labelled sentences as lines of text: the published ASQP and ACOS files.

    ASQP   sentence####[['term', 'category', 'polarity', 'opinion'], …]        (Zhang et al. 2021)
    ACOS   sentence <tab> 0,2 FOOD#QUALITY 2 4,5 <tab> …                        (Cai et al. 2021)

An ASQP term or opinion that is not named is 'NULL'. ACOS gives spans of space-separated words, -1,-1
for what is not named, and the polarity as 0 negative, 1 neutral, 2 positive.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from fsa_jax.data.tables import read_lines
from fsa_jax.errors import UserError
from fsa_jax.records import Aspect, Sentence

Located = Iterator[tuple[str, Sentence]]
SEPARATOR = '####'
_POLARITIES = ('negative', 'neutral', 'positive')
_QUAD = re.compile(r'(-?\d+),(-?\d+) (\S+) ([012]) (-?\d+),(-?\d+)')


def guess(path: Path) -> str | None:
    """'asqp' or 'acos' by the first line that is not blank; None for another form."""
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        line = next((line for line in file if line.strip()), '')
    if SEPARATOR in line:
        return 'asqp'
    _, tab, quads = line.rstrip('\n').partition('\t')
    return 'acos' if tab and _QUAD.fullmatch(quads.split('\t')[0].strip()) else None


def read_asqp(path: Path) -> Located:
    """Sentences of an ASQP file; UserError with file and line for one of another form."""
    for where, line in _lines(path):
        text, separator, labels = line.partition(SEPARATOR)
        if not separator:
            raise UserError(f'{where}: expected sentence{SEPARATOR}[[…], …]; got {line!r:.80}')
        try:
            quads = ast.literal_eval(labels.strip())  # literals alone: no name, no call
            aspects = tuple(_from_asqp(*quad) for quad in quads)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise UserError(
                f"{where}: expected a list of ['term', 'category', 'polarity', 'opinion'] after "
                f'{SEPARATOR}; got {labels.strip()!r:.80}'
            ) from None
        yield where, Sentence(where.rpartition(':')[2], text.strip(), aspects)


def _from_asqp(term: str, category: str, polarity: str, opinion: str) -> Aspect:
    if not all(isinstance(x, str) for x in (term, category, polarity, opinion)):
        raise TypeError
    return Aspect(
        target=None if term.upper() == 'NULL' else term,
        category=category,
        polarity=polarity,
        opinion_words=None if opinion.upper() == 'NULL' else opinion,
    )


def read_acos(path: Path) -> Located:
    """Sentences of an ACOS file; UserError with file and line for one of another form."""
    for where, line in _lines(path):
        text, *quads = line.split('\t')
        words = text.split(' ')
        aspects = []
        for quad in filter(None, map(str.strip, quads)):
            match = _QUAD.fullmatch(quad)
            if not match:
                raise UserError(
                    f"{where}: expected 'start,end CATEGORY polarity start,end' between tabs, polarity "
                    f'0, 1 or 2; got {quad!r:.80}'
                )
            aspects.append(_from_acos(words, *match.groups(), where=where))
        yield where, Sentence(where.rpartition(':')[2], text, tuple(aspects))


def _from_acos(words, start, end, category, polarity, opinion_start, opinion_end, *, where):
    term = _span(words, int(start), int(end), where)
    opinion = _span(words, int(opinion_start), int(opinion_end), where)
    place = len(' '.join(['', *words[: int(start)]])) if term and int(start) else 0
    return Aspect(
        target=term,
        category=category,
        polarity=_POLARITIES[int(polarity)],
        start=place if term else None,
        end=place + len(term) if term else None,
        opinion_words=opinion,
    )


def _span(words: list[str], start: int, end: int, where: str) -> str | None:
    if start == end == -1:
        return None
    if not 0 <= start < end <= len(words):
        raise UserError(f'{where}: no words {start},{end} in a sentence of {len(words)}')
    return ' '.join(words[start:end])


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in read_lines(path):
        if line.strip():
            yield f'{path}:{number}', line.rstrip('\r\n')

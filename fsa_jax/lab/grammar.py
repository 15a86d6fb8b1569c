"""Templates with alternatives and slots, rendered to text that knows where its marks lie.

the {t} {was} [really/] {a}     {slot}: filled by the caller;  [x/y/]: one of, the last empty
the <waiter/hostess> left       <x/y>: one of, marked as the target
"""

import functools
import re
from collections.abc import Mapping
from random import Random
from typing import Any

Mark = tuple[str, Any]
"""What a piece of text is, and whose: ('target', opinion), ('word', opinions)."""

Pieces = list[tuple[str, Mark | None]]
"""Text in pieces, some of them marked."""

_PARTS = re.compile(r'\{(\w+)\}|\[([^\]]*)\]|<([^>]*)>|([^{}\[\]<>]+)')
ARTICLE = ('{an}', None)
"""Stands for `a` or `an`, which `join` chooses by the word that follows."""


@functools.cache
def _compiled(template: str) -> tuple[tuple[str, Any], ...]:
    """(kind, value) parts: 'slot' name, 'choice' or 'target' options, 'text'."""
    parts: list[tuple[str, Any]] = []
    for slot, choice, target, text in _PARTS.findall(template):
        if slot:
            parts.append(('slot', slot))
        elif target:
            parts.append(('target', target.split('/')))
        elif text:
            parts.append(('text', re.sub(' +', ' ', text)))
        else:
            parts.append(('choice', choice.split('/')))
    return tuple(parts)


def render(
    template: str, rng: Random, slots: Mapping[str, Pieces] = {}, opinion: Any = None
) -> Pieces:
    """The template with one of each choice; `opinion` marks the `<targets>`."""
    pieces: Pieces = []
    for kind, value in _compiled(template):
        if kind == 'text':
            pieces.append((value, None))
        elif kind == 'slot':
            pieces += [ARTICLE] if value == 'an' else slots[value]
        else:
            mark = ('target', opinion) if kind == 'target' else None
            pieces.append((rng.choice(value), mark))
    return pieces


def join(pieces: Pieces) -> tuple[str, list[tuple[Mark, int, int]]]:
    """The text, single spaced, and (mark, start, end) of its marked pieces, in order."""
    text, spans = '', []
    for position, (piece, mark) in enumerate(pieces):
        if piece == '{an}':
            following = ''.join(p for p, _ in pieces[position + 1 : position + 3]).lstrip()
            piece = 'an' if following[:1] in tuple('aeiou') else 'a'
        if piece.lstrip(' ')[:1] in tuple(',.;!'):
            text, piece = text.rstrip(' '), piece.lstrip(' ')
        elif not text or text[-1] == ' ':
            piece = piece.lstrip(' ')
        if mark is not None:
            spans.append((mark, len(text), len(text) + len(piece)))
        text += piece
    return text.rstrip(' '), spans


def items(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(item.strip() for item in text.split(',') if item.strip())


def lines(text: str) -> tuple[str, ...]:
    """One template a line."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())

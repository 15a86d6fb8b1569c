"""An analysis as text and as JSON, and the schema that holds a teacher's answer (parse.py reads both).

    Opinion Target 1: "ramen"
    Aspect: taste
    Sentiment: Very Positive
    Reasoning: "perfectly salted" is praise.

Blocks are separated by a blank line. Standard library only.
"""

import json
from collections.abc import Sequence
from typing import Any

from fsa_jax.records import SENTIMENT_LEVELS, Opinion

NO_OPINIONS = 'No opinion target.'
MOST_OPINIONS = 12  # real teachers list 4.5 on average; bounds keep an answer within its tokens
_LONGEST = {'target': 80, 'aspect': 60, 'reasoning': 400}  # characters


def schema(reasoning: bool = True) -> dict[str, Any]:
    """The JSON schema of an analysis; every list and string in it is bounded."""
    fields: dict[str, Any] = {
        'target': _text('target'),
        'aspect': _text('aspect'),
        'sentiment': {'type': 'string', 'enum': list(SENTIMENT_LEVELS)},
    }
    if reasoning:
        fields['reasoning'] = _text('reasoning')
    return _object(
        {'opinions': {'type': 'array', 'maxItems': MOST_OPINIONS, 'items': _object(fields)}}
    )


def render(opinions: Sequence[Opinion], reasoning: bool = True) -> str:
    """The canonical text of opinions; `reasoning=False` leaves that line out."""
    return '\n\n'.join(
        _block(number, opinion, reasoning) for number, opinion in enumerate(opinions, 1)
    ) or NO_OPINIONS  # fmt: skip


def to_json(opinions: Sequence[Opinion], reasoning: bool = True) -> str:
    """Opinions as the JSON that `schema` describes, on one line."""
    names = ('target', 'aspect', 'sentiment', *(('reasoning',) if reasoning else ()))
    return json.dumps(
        {'opinions': [{name: getattr(opinion, name) for name in names} for opinion in opinions]},
        ensure_ascii=False,
    )


def _block(number: int, opinion: Opinion, reasoning: bool) -> str:
    lines = [
        f'Opinion Target {number}: "{opinion.target}"',
        f'Aspect: {opinion.aspect}',
        f'Sentiment: {opinion.sentiment or opinion.raw_sentiment}',
    ]
    if reasoning and opinion.reasoning:
        lines.append(f'Reasoning: {opinion.reasoning}')
    return '\n'.join(lines)


def _text(name: str) -> dict[str, Any]:
    return {'type': 'string', 'minLength': 1, 'maxLength': _LONGEST[name]}


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        'type': 'object',
        'properties': fields,
        'required': list(fields),
        'additionalProperties': False,
    }

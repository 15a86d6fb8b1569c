"""What a language model answers on a benchmark -> the string that the scorer reads, or a label.

Everything here takes any string and raises nothing; `malformed` says that an answer was not in the form
asked for, whatever could be made of it.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fsa_jax import text_format

NONE = 'none'  # what a model writes where there is no opinion
_BULLET = re.compile(r'^\s*(?:[-*•]|\d{1,2}[.)])\s+')
_FIELDS = {'acsa': 'category', 'atsa': 'term'}


@dataclass(frozen=True)
class Read:
    """An answer as read: a target string or a label."""

    text: str
    malformed: bool


def write_pairs(task: str, target: str, as_json: bool) -> str:
    """The answer of a demonstration, from its target string."""
    if not as_json:
        return target or NONE
    parts = [part.split(' | ') for part in target.split(' ; ') if part]
    pairs = [{_FIELDS[task]: ' | '.join(p[:-1]), 'polarity': p[-1]} for p in parts]
    return json.dumps({'pairs': pairs}, ensure_ascii=False)


def pairs_schema(
    task: str, polarities: Sequence[str], categories: Sequence[str] = ()
) -> dict[str, Any]:
    """The JSON schema of an answer; with `categories` no other can be given."""
    name = {'type': 'string', 'enum': list(categories)} if categories else {
        'type': 'string', 'minLength': 1, 'maxLength': 80,
    }  # fmt: skip
    pair = _object({_FIELDS[task]: name, 'polarity': {'type': 'string', 'enum': list(polarities)}})
    return _object({'pairs': {'type': 'array', 'maxItems': 8, 'items': pair}})


def label_schema(labels: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of a single label."""
    return _object({'label': {'type': 'string', 'enum': list(labels)}})


def read_pairs(
    task: str, answer: str, sentence: str, polarities: Sequence[str], as_json: bool
) -> Read:
    """The target string in an answer: lines become parts, bullets go, polarities are lower-cased, and
    quotes go around a term that `sentence` does not have with them.

    What no rule here knows is left for the scorer, which drops it.
    """
    parts = _json_parts(task, answer) if as_json else _text_parts(answer)
    if parts is None:
        return Read('', True)
    text = ' ; '.join(_clean(task, part, sentence) for part in parts)
    parsed = text_format.parse('acsa', text, polarities=polarities)
    return Read(text, bool(parsed.dropped))


def read_label(answer: str, labels: Sequence[str], as_json: bool) -> Read:
    """The label in an answer: the one it names; none or several make it malformed, with text ''."""
    if as_json:
        value = _json(answer)
        named = [value['label']] if isinstance(value, dict) and value.get('label') in labels else []
    else:
        found = set(re.findall(r'[a-z]+', answer.lower()))
        named = [label for label in labels if label in found]
    return Read(named[0], False) if len(named) == 1 else Read('', True)


def _text_parts(answer: str) -> list[str]:
    lines = [_BULLET.sub('', line) for line in answer.splitlines()]
    parts = [part.strip() for line in lines for part in line.split(';')]
    return [part for part in parts if part and part.strip(' ."\'').lower() != NONE]


def _json_parts(task: str, answer: str) -> list[str] | None:
    value = _json(answer)
    try:
        return [f'{pair[_FIELDS[task]]} | {pair["polarity"]}' for pair in value['pairs']]
    except (TypeError, KeyError, IndexError):
        return None


def _clean(task: str, part: str, sentence: str) -> str:
    name, separator, polarity = part.rpartition('|')
    name, bare, polarity = name.strip(), name.strip(' "\'`'), polarity.strip(' ."\'`').lower()
    if task == 'acsa':
        name = bare.lower()
    elif name not in sentence:
        name = bare
    return f'{name} | {polarity}' if separator else polarity


def _json(answer: str) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        'type': 'object',
        'properties': fields,
        'required': list(fields),
        'additionalProperties': False,
    }

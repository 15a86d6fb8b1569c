"""The records that flow between stages, and their JSON lines. Standard library only."""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from fsa_jax.configs.base import type_name
from fsa_jax.data.json_records import read_json_records
from fsa_jax.errors import UserError

R = TypeVar('R')
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=vars)

Polarity = Literal['positive', 'neutral', 'negative', 'conflict']
POLARITIES: tuple[str, ...] = ('positive', 'neutral', 'negative', 'conflict')
SENTIMENT_LEVELS: tuple[str, ...] = (
    'Very Negative',
    'Negative',
    'Mild Sentiment',
    'Positive',
    'Very Positive',
)


@dataclass(frozen=True)
class Review:
    """A review as sampled. `rating` is in stars, None where unknown."""

    id: str
    text: str
    domain: str = ''
    rating: float | None = None


@dataclass(frozen=True)
class Prompt:
    """What a teacher is asked about one review: chat turns, `{'role': …, 'content': …}` each.

    `hash` is the sha256 of turns and `schema` (the JSON schema that the answer is held to, None for
    free text).
    """

    review: str
    kind: str
    messages: tuple[dict[str, str], ...]
    hash: str
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Opinion:
    """One opinion of a teacher's analysis.

    `sentiment` is one of SENTIMENT_LEVELS, None where `raw_sentiment`, the teacher's own word, says
    nothing; `target_support` tells how the review bears the target out.
    """

    target: str
    aspect: str = ''
    sentiment: str | None = None
    raw_sentiment: str = ''
    reasoning: str = ''
    target_support: str = ''


@dataclass(frozen=True)
class Generation:
    """One answer of a teacher. `kind` is the prompt kind: 'analysis' or 'rewriting'.

    `input` is `prompt`, where a published answer has one, and the review.
    """

    id: str
    kind: str
    input: str
    output: str
    domain: str = ''
    rating: float | None = None
    teacher: str = ''
    prompt_hash: str = ''
    finish_reason: str = ''
    prompt: str = ''

    @property
    def review(self) -> str:
        """The input without the prompt before it."""
        return self.input.removeprefix(self.prompt)


@dataclass(frozen=True)
class CorpusExample:
    """One pair of the sentiment-understanding corpus: `input` in, `target` out.

    `opinions` are those of an analysis as they were read; `flags` say what was cut, corrected or kept
    although a filter minds it. `input` opens with `prompt`, where a published answer has one.
    """

    id: str
    domain: str
    rating: float | None
    kind: str
    input: str
    target: str
    opinions: tuple[Opinion, ...] = ()
    flags: tuple[str, ...] = ()
    teacher: str = ''
    prompt_hash: str = ''
    prompt: str = ''


@dataclass(frozen=True)
class Aspect:
    """One labelled opinion of a benchmark sentence. `start`/`end` are as stored: str, int or None."""

    target: str | None
    category: str | None
    polarity: str
    start: str | int | None = None
    end: str | int | None = None
    opinion_words: Any = None


@dataclass(frozen=True)
class Sentence:
    """A benchmark sentence with its aspects."""

    id: str
    sentence: str
    aspects: tuple[Aspect, ...] = ()


@dataclass(frozen=True)
class Example:
    """A text pair of a task split, with what scoring it needs.

    `metric` names the scorer ('acsa', 'atsa') or is empty; `gold` is the target string that is
    scored; `subsets` are those of `normal` that the sentence belongs to.
    """

    id: str
    inputs: str
    targets: str = ''
    task: str = ''
    metric: str = ''
    sentence: str = ''
    gold: str = ''
    subsets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """Generated text of one input row. `flags` say what happened to it ('empty', 'truncated')."""

    id: str
    sentence: str
    prediction: str
    task: str = ''
    metric: str = ''
    gold: str | None = None
    subsets: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


def to_json(record: Any) -> str:
    """One line of JSON, keys in field order."""
    return _ENCODER.encode(vars(record))


def from_json(kind: type[R], line: str, where: str) -> R:
    """The inverse of `to_json`; `where` ('file:line') opens the error."""
    try:
        values = json.loads(line)
    except ValueError as error:
        raise UserError(f'{where}: expected one JSON object a line; {error}') from None
    if not isinstance(values, dict):
        raise UserError(f'{where}: expected a JSON object; got {line.strip():.80}')
    return from_values(kind, values, where)


def from_values(kind: type[R], values: dict[str, Any], where: str) -> R:
    """The record of a JSON object, those in its lists too.

    Raises UserError, opened by `where`, for an unknown or missing field and a value of another type.
    """
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise UserError(f'{where}: not a {kind.__name__}: unknown field {name!r}')
        if not _fits(value, hints[name]):
            wanted = type_name(hints[name])
            raise UserError(f'{where}: {name!r} must be {wanted}; got {value!r:.80}')
        if isinstance(value, list):
            item = typing.get_args(hints[name])[0]
            nested = dataclasses.is_dataclass(item)
            value = tuple(from_values(item, v, where) if nested else v for v in value)
        made[name] = value
    try:
        return kind(**made)
    except TypeError as error:
        raise UserError(f'{where}: not a {kind.__name__}: {error}') from None


_hints = functools.cache(typing.get_type_hints)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a field of type `hint` may be `value` in JSON."""
    if type(value) is hint or hint is Any:
        return True
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return any(_fits(value, arg) for arg in args)
    if origin is tuple:
        return isinstance(value, list) and all(_fits(item, args[0]) for item in value)
    if origin is dict or dataclasses.is_dataclass(hint):
        return isinstance(value, dict)
    return hint is float and type(value) is int


def read_jsonl(kind: type[R], path: Path) -> Iterator[R]:
    """Records of a JSON-lines file, one at a time; UserError with file and line for a bad one."""
    for where, values in read_json_records(path):
        yield from_values(kind, values, where)


def write_jsonl(path: Path, records: Iterable[Any]) -> int:
    """Writes records as JSON lines, `?` for half a character; returns how many."""
    count = 0
    with open(path, 'w', encoding='utf-8', errors='replace') as file:
        for record in records:
            file.write(to_json(record) + '\n')
            count += 1
    return count

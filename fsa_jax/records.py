"""The records that flow between stages, and their JSON lines. Standard library only."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

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

    `template` and `version` name the wording; `hash` is the sha256 of turns and `schema` (the JSON
    schema that the answer is held to, None for free text).
    """

    review: str
    kind: str
    template: str
    version: str
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
    """One answer of a teacher. `kind` is the prompt kind: 'analysis' or 'rewriting'."""

    id: str
    kind: str
    input: str
    output: str
    domain: str = ''
    rating: float | None = None
    teacher: str = ''
    prompt_hash: str = ''
    finish_reason: str = ''


@dataclass(frozen=True)
class CorpusExample:
    """One pair of the sentiment-understanding corpus: `input` in, `target` out.

    `opinions` are those of an analysis as they were read; `flags` say what was cut, corrected or kept
    although a filter minds it.
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
    except json.JSONDecodeError as error:
        raise UserError(f'{where}: expected one JSON object a line; {error}') from None
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or not values.keys() <= names:
        raise UserError(f'{where}: expected a {kind.__name__} with fields among {sorted(names)}')
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise UserError(f'{where}: not a {kind.__name__}: {error}') from None


def read_jsonl(kind: type[R], path: Path) -> Iterator[R]:
    """Records of a JSON-lines file, one at a time."""
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield from_json(kind, line, f'{path}:{number}')


def write_jsonl(path: Path, records: Iterable[Any]) -> int:
    """Writes records as JSON lines, `?` for half a character; returns how many."""
    count = 0
    with open(path, 'w', encoding='utf-8', errors='replace') as file:
        for record in records:
            file.write(to_json(record) + '\n')
            count += 1
    return count

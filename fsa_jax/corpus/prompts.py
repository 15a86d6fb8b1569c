"""Prompts: template files, worked examples, and the chat turns made of them for one review.

A template file holds a version, the instructions and the turn of one review, parted by `===`:

    version: 1
    ===
    List every opinion target …
    ===
    Review: {review}

The first user turn opens with the instructions, demonstrations are turns before the last one, and
the review comes last: all prompts of a run share the longest possible prefix, which an engine
computes once. There is no system turn: some chat templates refuse one. Standard library only.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from fsa_jax.configs import PROMPT_KINDS, PromptConfig
from fsa_jax.corpus import analysis
from fsa_jax.data.tables import read_lines
from fsa_jax.errors import UserError, nearest
from fsa_jax.records import Opinion, Prompt, Review, read_jsonl

_OURS = Path(__file__).parent / 'templates'
_DEMONSTRATIONS = 'demonstrations.jsonl'
_MARK = '{review}'

Message = dict[str, str]


@dataclass(frozen=True)
class Template:
    """One kind of prompt in one variant, ready for any review.

    `demonstrations` are (review, answer) pairs; `schema` is the JSON schema of the answer, None for
    free text.
    """

    kind: str
    name: str
    version: str
    instructions: str
    turn: str
    demonstrations: tuple[tuple[str, str], ...] = ()
    schema: dict[str, Any] | None = None

    def messages(self, review: Review) -> list[Message]:
        """The chat turns about a review: user (, assistant, user, …)."""
        turns = []
        for shown, answer in self.demonstrations:
            turns += [_said('user', self._asked(shown)), _said('assistant', answer)]
        turns.append(_said('user', self._asked(review.text)))
        turns[0]['content'] = f'{self.instructions}\n\n{turns[0]["content"]}'
        return turns

    def hash(self, review: Review) -> str:
        """Hex sha256 of what is asked about a review: the turns and the schema."""
        content = json.dumps([self.messages(review), self.schema], sort_keys=True)
        return hashlib.sha256(content.encode('ascii')).hexdigest()

    def prompt(self, review: Review) -> Prompt:
        """The record of what is asked about a review."""
        return Prompt(
            review=review.id,
            kind=self.kind,
            messages=tuple(self.messages(review)),
            hash=self.hash(review),
            schema=self.schema,
        )

    def _asked(self, text: str) -> str:
        return self.turn.replace(_MARK, text)


def load_prompts(config: PromptConfig) -> dict[str, Template]:
    """The template of each prompt kind of a config, by kind."""
    return {
        kind: load_prompt(
            kind,
            reasoning=config.reasoning,
            json_answer=config.json,
            demonstrations=config.demonstrations,
            seed=config.seed,
            folder=config.templates,
        )
        for kind in config.kinds
    }


def load_prompt(
    kind: str,
    *,
    reasoning: bool = True,
    json_answer: bool = False,
    demonstrations: int = 0,
    seed: int = 0,
    folder: str | Path = '',
) -> Template:
    """The template of a prompt kind ('analysis', 'rewriting') in one variant.

    `reasoning` and `json_answer` choose among the analyses. `demonstrations` worked examples are
    drawn with `seed`: fewer are the first ones of more. `folder` holds templates of a user's own;
    a file that is not there is taken from ours.

    Raises UserError for an unknown kind, a folder that is not there, a file that is no template, and
    for more demonstrations than there are.
    """
    if kind not in PROMPT_KINDS:
        raise UserError(
            f'no prompt kind {kind!r}; expected one of {", ".join(PROMPT_KINDS)}'
            f'{nearest(kind, PROMPT_KINDS)}'
        )
    if folder and not Path(folder).is_dir():
        raise UserError(f'PromptConfig.templates={str(folder)!r} is not a folder')
    json_answer = json_answer and kind == 'analysis'
    name = kind
    if kind == 'analysis':
        name += ('_json' if json_answer else '') + ('' if reasoning else '_brief')
    version, instructions, turn = read_template(_file(folder, f'{name}.txt'))
    examples = (
        list(read_jsonl(Demonstration, _file(folder, _DEMONSTRATIONS))) if demonstrations else []
    )
    if demonstrations > len(examples):
        raise UserError(
            f'PromptConfig.demonstrations={demonstrations}: there are {len(examples)}; put more into '
            f'{_DEMONSTRATIONS} of a folder that PromptConfig.templates names'
        )
    Random(seed).shuffle(examples)
    return Template(
        kind=kind,
        name=name,
        version=version,
        instructions=instructions,
        turn=turn,
        demonstrations=tuple(
            (e.review, e.answer(kind, reasoning, json_answer)) for e in examples[:demonstrations]
        ),
        schema=analysis.schema(reasoning) if json_answer else None,
    )


@dataclass(frozen=True)
class Demonstration:
    """A worked example: a review, its opinions, and its rewriting."""

    review: str
    opinions: tuple[Opinion, ...]
    rewriting: str

    def answer(self, kind: str, reasoning: bool, json_answer: bool) -> str:
        if kind == 'rewriting':
            return self.rewriting
        write = analysis.to_json if json_answer else analysis.render
        return write(self.opinions, reasoning)


def read_template(path: Path) -> tuple[str, str, str]:
    """(version, instructions, turn of a review)."""
    text = '\n'.join(line.rstrip('\r\n') for _, line in read_lines(path))
    parts = [part.strip() for part in text.split('\n===\n')]
    head = parts[0].removeprefix('version:').strip()
    if len(parts) != 3 or not parts[0].startswith('version:') or not head:
        raise UserError(
            f"{path}: expected 'version: …', the instructions and the turn of a review, parted by "
            f"lines of '==='; got {len(parts)} parts"
        )
    if parts[2].count(_MARK) != 1:
        raise UserError(f'{path}: the turn of a review must hold {_MARK} once; got {parts[2]!r}')
    return head, parts[1], parts[2]


def _file(folder: str | Path, name: str) -> Path:
    own = Path(folder) / name if folder else _OURS / name
    return own if own.is_file() else _OURS / name


def _said(role: str, content: str) -> Message:
    return {'role': role, 'content': content}

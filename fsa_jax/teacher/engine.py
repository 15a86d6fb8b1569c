"""What every engine is: requests in, answers out, in any order.

    engine.answers(requests) -> (request, answer), as they are finished

An engine takes requests from the iterator as it has room for them, so that neither reviews nor
prompts need to be in memory. One that cannot be answered comes back with `Answer.refused`, the
reason, and the rest goes on; what stops them all is a UserError (a missing model) or Unreachable (a dead server).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

from fsa_jax.configs import SamplingConfig
from fsa_jax.records import Prompt, Review

_CONTROL = re.compile(r'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]')  # all but tab and line ends
SURROGATE = re.compile('[\ud800-\udfff]')


@dataclass(frozen=True)
class Request:
    """One prompt about one text. `key` is its identity, `seed` is made of that."""

    key: str
    seed: int
    review: Review
    prompt: Prompt


@dataclass(frozen=True)
class Answer:
    """What became of a request. `cached_tokens` of the prompt were known from earlier prompts."""

    text: str = ''
    finish_reason: str = ''
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    refused: str = ''  # a code; `detail` explains it
    detail: str = ''
    teacher: str = ''  # where an engine speaks for several
    before: str = ''  # what a published answer has before the review in its input


class Engine(Protocol):
    """A source of answers; `teacher` is its name in the records."""

    teacher: str

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """Answers all requests, in the order in which they are finished."""

    def close(self) -> None:
        """Frees what the engine holds."""


def request_for(review: Review, prompt: Prompt, model: str, sampling: SamplingConfig) -> Request:
    """The request of a review and a prompt: its key is the hash of (review id, prompt hash, model, sampling)."""
    identity = json.dumps([review.id, prompt.hash, model, asdict(sampling)], sort_keys=True)
    digest = hashlib.sha256(identity.encode())
    return Request(
        digest.hexdigest(), int.from_bytes(digest.digest()[:4], 'big') >> 1, review, prompt
    )


def unfit(text: str) -> str:
    """Why a text cannot be sent to any engine ('empty', 'control_characters', 'lone_surrogate'), or ''."""
    if not text.strip():
        return 'empty'
    if _CONTROL.search(text):
        return 'control_characters'
    return 'lone_surrogate' if SURROGATE.search(text) else ''

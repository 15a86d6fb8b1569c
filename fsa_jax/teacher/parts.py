"""Part files: every request exactly once, however often the run is killed.

    part-00000.jsonl            the answers of requests 0 … size-1, in the order of the requests
    set_aside/part-00000.jsonl  those of them that have no answer, each with a reason
    .parts/00000.json           counts, and the hash of the requests' keys
    .parts/00000.journal        answers of a part that is not complete yet, in the order they came

Which requests make up a part is fixed by their order alone. A part is written once, whole, when its
last answer has come; until then its answers are in the journal, so that a resumed run asks only
for what is missing.
"""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsa_jax import records
from fsa_jax.errors import UserError
from fsa_jax.manifest import write_atomic
from fsa_jax.teacher.engine import SURROGATE, Answer, Request, unfit

_SIDE = '.parts'
_ASIDE = 'set_aside'
_ALL_REFUSED = 20  # requests: a part of so many with no answer at all is a mistake in the set-up


@dataclass
class _Part:
    """A part that waits for answers: by position, the line of a record or of what is set aside."""

    index: int
    requests: list[Request]
    digest: str
    answered: dict[int, str] = field(default_factory=dict)
    aside: dict[int, str] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)
    journal: Any = None

    def waits_for(self, position: int) -> bool:
        return position not in self.answered and position not in self.aside

    def complete(self) -> bool:
        return len(self.answered) + len(self.aside) == len(self.requests)


class Parts:
    """The parts of one run in `folder`; `record` makes the record of an answer, a dataclass."""

    def __init__(self, folder: Path, size: int, record: Callable[[Request, Answer], Any]):
        self.folder, self.size, self.record = folder, size, record
        self.counts: Counter = Counter()  # requests, answered, set_aside/<reason>, tokens
        self._open: dict[str, tuple[_Part, int]] = {}  # by key of a request under way
        self._side().mkdir(exist_ok=True)
        for left in folder.rglob('.*.tmp'):  # of a killed run
            left.unlink()

    def done(self) -> int:
        """Requests that are in finished parts or journals on disk."""
        parts = sum(json.loads(p.read_text())['requests'] for p in self._side().glob('*.json'))
        return parts + sum(
            max(0, len(p.read_bytes().splitlines()) - 1) for p in self._side().glob('*.journal')
        )

    def pending(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Those of all requests, in order, that still need an answer."""
        number = 0
        for number, members in enumerate(_chunks(requests, self.size), 1):
            digest = hashlib.sha256('\n'.join(r.key for r in members).encode()).hexdigest()
            part = _Part(number - 1, members, digest)
            if self._file(part.index).exists():
                self._count_finished(part)
            else:
                yield from self._begin(part)
        if len(list(self.folder.glob('part-*.jsonl'))) > number:
            raise self._other_requests(self._file(number))

    def put(self, request: Request, answer: Answer) -> None:
        """Takes the answer of a request; writes the part that it completes."""
        part, position = self._open.pop(request.key)
        if answer.refused:
            line = json.dumps(_aside(request, answer))
        else:
            line = SURROGATE.sub('\ufffd', records.to_json(self.record(request, answer)))
        entry = {
            'position': position,
            'line': line,
            'refused': answer.refused,
            'prompt_tokens': answer.prompt_tokens,
            'output_tokens': answer.output_tokens,
        }
        part.journal.write(json.dumps(entry) + '\n')
        part.journal.flush()  # a killed process loses nothing that was flushed
        self._take(part, entry)
        if part.complete():
            self._write(part)

    def close(self) -> None:
        """Closes the journals of parts that are under way; those without an answer go."""
        for part in {part.index: part for part, _ in self._open.values()}.values():
            part.journal.close()
            if not part.answered:
                self._journal(part.index).unlink()

    def _begin(self, part: _Part) -> Iterator[Request]:
        """The members of a new or interrupted part that need an answer from the engine."""
        self._resume(part)
        for position, request in enumerate(part.requests):
            if part.waits_for(position):
                self._open[request.key] = part, position
        if part.complete():  # killed after the last answer, before the part was written
            self._write(part)
        for position, request in enumerate(part.requests):
            if part.waits_for(position):
                reason = unfit(request.review.text) or unfit(request.review.id)
                if reason:
                    self.put(request, Answer(refused=reason))
                else:
                    yield request

    def _resume(self, part: _Part) -> None:
        """Takes what the journal holds, cuts off a torn last line, and opens it to append."""
        path = self._journal(part.index)
        whole, lines = 0, []
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b'\n') + 1
            lines = content[:whole].decode().splitlines()
        if lines and lines[0] != part.digest:
            raise self._other_requests(path)
        for line in lines[1:]:
            self._take(part, json.loads(line))
        part.journal = open(path, 'a', encoding='utf-8')  # noqa: SIM115 - closed by _write
        part.journal.truncate(whole)
        if not lines:
            part.journal.write(part.digest + '\n')

    def _take(self, part: _Part, entry: dict[str, Any]) -> None:
        lines = part.aside if entry['refused'] else part.answered
        lines[entry['position']] = entry['line']
        counts = Counter({name: entry[name] for name in ('prompt_tokens', 'output_tokens')})
        counts['requests'] = 1
        counts[f'set_aside/{entry["refused"]}' if entry['refused'] else 'answered'] = 1
        part.counts += counts
        self.counts += counts

    def _write(self, part: _Part) -> None:
        """Writes a complete part; its file comes last and is what makes it finished."""
        part.journal.close()
        if not part.answered and len(part.aside) >= _ALL_REFUSED:
            self._journal(part.index).unlink()
            first = json.loads(part.aside[0])
            raise UserError(
                f'no request of {self._file(part.index).name} was answered, the first for '
                f'{first["reason"]!r}{": " + first["detail"] if first["detail"] else ""}; '
                'nothing was written for it'
            )
        if part.aside:
            (self.folder / _ASIDE).mkdir(exist_ok=True)
            write_atomic(self.folder / _ASIDE / self._file(part.index).name, _text(part.aside))
        side = {'keys': part.digest, **part.counts}
        write_atomic(self._side() / f'{part.index:05}.json', json.dumps(side))
        write_atomic(self._file(part.index), _text(part.answered))
        self._journal(part.index).unlink()

    def _count_finished(self, part: _Part) -> None:
        side = json.loads((self._side() / f'{part.index:05}.json').read_text())
        if side.pop('keys') != part.digest:
            raise self._other_requests(self._file(part.index))
        self.counts += Counter(side)
        self._journal(part.index).unlink(missing_ok=True)

    def _other_requests(self, path: Path) -> UserError:
        return UserError(
            f'{path} is of other requests: the reviews, the prompts or the model have changed since; '
            'choose another --output, or --overwrite'
        )

    def _file(self, index: int) -> Path:
        return self.folder / f'part-{index:05}.jsonl'

    def _journal(self, index: int) -> Path:
        return self._side() / f'{index:05}.journal'

    def _side(self) -> Path:
        return self.folder / _SIDE


def _aside(request: Request, answer: Answer) -> dict[str, str]:
    review = request.review
    return {
        'review': review.id,
        'kind': request.prompt.kind,
        'reason': answer.refused,
        'detail': answer.detail,
        'text': review.text[:500],
    }


def _text(lines: dict[int, str]) -> str:
    return ''.join(lines[position] + '\n' for position in sorted(lines))


def _chunks(requests: Iterable[Request], size: int) -> Iterator[list[Request]]:
    iterator = iter(requests)
    while members := list(itertools.islice(iterator, size)):
        yield members

"""Published answers as an engine: whatever form their files have, looked up by review and kind."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from fsa_jax.data.corpus_files import corpus_files, read_generations
from fsa_jax.records import Generation, Review
from fsa_jax.teacher.engine import Answer, Request


class ReplayEngine:
    """Gives the first published answer to a review and prompt kind; a review without one is refused."""

    teacher = 'replay'

    def __init__(self, answers: str | Path):
        # a private database on disk, gone when closed: two million answers do not fit in memory
        self._index = sqlite3.connect('')
        self._index.execute(
            'create table answers (key primary key, output, finish, teacher, prompt)'
        )
        rows = (
            (_key(g.review, g.kind), g.output, g.finish_reason, g.teacher, g.prompt)
            for g in published(answers)
        )
        self._index.executemany('insert or ignore into answers values (?, ?, ?, ?, ?)', rows)

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """One answer after the other."""
        for request in requests:
            found = self._index.execute(
                'select output, finish, teacher, prompt from answers where key = ?',
                (_key(request.review.text, request.prompt.kind),),
            ).fetchone()
            if found:
                output, finish, teacher, prompt = found
                yield (
                    request,
                    Answer(output, finish, teacher=teacher or self.teacher, before=prompt),
                )
            else:
                yield request, Answer(refused='not_published', detail='no answer of this kind')

    def close(self) -> None:
        """Drops the index."""
        self._index.close()


def published(answers: str | Path) -> Iterator[Generation]:
    """All published answers, of all splits."""
    for split in corpus_files(Path(answers)):
        yield from read_generations(answers, split, validation_fraction=0.0)


def published_reviews(answers: str | Path) -> Iterator[tuple[Review, str]]:
    """(review without its prompt, prompt kind) of every answer, repeats left out. Published numbers
    repeat across files, so a review's id is the hash of its text."""
    seen = sqlite3.connect('')
    seen.execute('create table seen (key primary key)')
    for g in published(answers):
        key = _key(g.review, g.kind)
        if seen.execute('insert or ignore into seen values (?)', (key,)).rowcount:
            identity = hashlib.sha256(g.review.encode('utf-8', 'surrogatepass')).hexdigest()[:16]
            yield Review(identity, g.review, g.domain, g.rating), g.kind


def _key(text: str, kind: str) -> bytes:
    return hashlib.sha256(f'{kind}\n{text}'.encode('utf-8', 'surrogatepass')).digest()[:16]

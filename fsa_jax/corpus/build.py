"""`fsa corpus`: a teacher's answers to a corpus that a student learns from.

    data/train-00000.jsonl, …  data/validation-00000.jsonl   records.CorpusExample
    parquet/                   the same, for datasets.load_dataset
    rejects.jsonl              what was cut or left out, with reason codes
    again/reviews.jsonl        with filter='correct': what to ask the teacher again (`fsa teach`)
    self_check/                with CorpusConfig.questions: what to ask the teacher about its analyses
    quality.json, .md, .html   the quality report
    README.md                  the dataset card

One pass, answer by answer; of each only some hashes stay in memory.
"""

import gc
import hashlib
import heapq
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from fsa_jax import manifest
from fsa_jax.configs import CorpusConfig, FilterConfig
from fsa_jax.corpus import card, compare, detectors, quality_page, self_check
from fsa_jax.corpus.filters import Decision, Examined, Filters, examine
from fsa_jax.corpus.quality import Quality
from fsa_jax.corpus.shards import Shards, write_parquet
from fsa_jax.corpus.words import words
from fsa_jax.data.corpus_files import EXAMPLES, read_answers
from fsa_jax.errors import UserError
from fsa_jax.progress import say, track
from fsa_jax.records import Generation, Review, to_json

REJECTS = 'rejects.jsonl'
_STEP = 500  # answers between two steps of the progress
_WHOLE = 2**64


def run(out: manifest.Output | None, corpus: CorpusConfig, config: FilterConfig) -> None:
    """Builds the corpus, or with CorpusConfig.compare prints corpora side by side."""
    if corpus.compare:
        compare.show([Path(name) for name in corpus.compare])
        return
    if out is None:
        raise UserError('fsa corpus needs --output=DIR (only --compare does without)')
    if not corpus.answers:
        raise UserError(
            'CorpusConfig.answers is empty; expected a folder or file of teacher answers'
        )
    if corpus.targets == 'raw' and config.filter == 'correct':
        raise UserError("FilterConfig.filter='correct' needs CorpusConfig.targets='clean'")
    named = {'again': corpus.again, 'answers': corpus.answers}  # the first good answer counts
    answers = [out.read(name, path) for name, path in named.items() if path]
    built = _build(out, answers, corpus, config)
    quality = built.quality.summary()
    if corpus.truth:
        quality['detectors'] = detectors.score(out.read('truth', corpus.truth), built.detected)
    out.counts.update(built.counts())
    quality_page.write(out.folder, quality, built.quality.examples(), corpus)
    if corpus.parquet:
        write_parquet(out.folder)
    card.write(out.folder, quality, built.written, corpus, config)
    compare.show([out.folder], [out.folder.name.removeprefix('.').removesuffix('.partial')])
    for split, count in built.written.items():
        say(f'{split}: {count:,} examples')
    say(f'rejected: {built.rejected:,} answers; what was cut, and why: {REJECTS}, quality.html')


@dataclass
class _Built:
    """What a run keeps in memory."""

    quality: Quality
    answers: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    again: int = 0
    detected: dict[detectors.Answer, detectors.Detected] = field(default_factory=dict)

    def counts(self) -> dict[str, object]:
        """For the manifest."""
        return {
            'answers': self.answers,
            'examples': dict(self.written),
            'rejected': self.rejected,
            'asked_again': self.again,
            'reasons': dict(self.reasons.most_common()),
        }


def _build(
    out: manifest.Output, answers: Sequence[Path], corpus: CorpusConfig, config: FilterConfig
) -> _Built:
    chosen = _Chosen(answers, corpus)
    denied = self_check.read_verdicts(config.self_check, out) if config.self_check else {}
    filters, built = Filters(corpus, config), _Built(Quality(corpus.examples, corpus.seed))
    seen: set[int] = set()
    with (
        _few_collections(),
        Shards(out.folder / EXAMPLES, corpus.shard_size) as shards,
        _Asides(out.folder, config) as asides,
        self_check.Questions(out.folder) if corpus.questions else nullcontext() as questions,
        track('corpus', None, 'answers') as bar,
    ):
        for answer, review, place in chosen:
            read = examine(answer, review, config, denied.get(self_check.name_of(answer), ()))
            key = hash((place, answer.kind, answer.teacher))
            decision = filters.decide(read, key in seen)
            if decision.example is not None:
                seen.add(key)
            _count(built, read, decision)
            if decision.example is not None:
                split = 'validation' if place < corpus.validation_fraction * _WHOLE else 'train'
                shards.write(split, decision.example)
                built.written[split] += 1
            asides.write(read, decision, place)
            if questions is not None:
                questions.ask(read)
            if corpus.truth:
                built.detected[detectors.answer_of(read)] = detectors.detect(read)
            built.answers += 1
            if built.answers % _STEP == 0:
                bar.update(_STEP, kept=f'{built.written.total() / built.answers:.0%}')
    if not built.answers:
        raise UserError(
            f'no answers of kinds {corpus.kinds} and domains {corpus.domains or "any"} in {corpus.answers}'
        )
    return built


@contextmanager
def _few_collections() -> Iterator[None]:
    """Lets the garbage collector look less often: an answer makes hundreds of objects and no cycle."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _count(built: _Built, read: Examined, decision: Decision) -> None:
    for code in decision.reasons:
        built.reasons[code] += 1
    built.rejected += decision.example is None
    built.again += decision.again
    built.quality.add(read, decision)


class _Chosen:
    """The answers of a corpus: (answer, review, where the hash of the review's words falls).

    With a `size`, a first pass over the reviews finds the hash below which there are that many, so a
    smaller corpus is part of a larger one, and its split the same.
    """

    def __init__(self, paths: Sequence[Path], config: CorpusConfig):
        self._paths, self._config = paths, config
        self._highest = _WHOLE
        if config.size:
            ranks = {self._rank(place) for _, _, place in self._all()}
            if len(ranks) > config.size:
                self._highest = heapq.nsmallest(config.size, ranks)[-1]

    def __iter__(self) -> Iterator[tuple[Generation, str, int]]:
        for answer, review, place in self._all():
            if self._highest == _WHOLE or self._rank(place) <= self._highest:
                yield answer, review, place

    def _all(self) -> Iterator[tuple[Generation, str, int]]:
        kinds, domains = self._config.kinds, self._config.domains
        for answer, review in itertools.chain.from_iterable(map(read_answers, self._paths)):
            if answer.kind in kinds and (not domains or answer.domain in domains):
                yield answer, review, place_of(review)

    def _rank(self, place: int) -> int:
        return _hash(f'{self._config.seed}/{place}')


def place_of(review: str) -> int:
    """A 64-bit hash of a review's words: the same for texts that differ in case, marks and spaces."""
    return _hash(' '.join(words(review)))


def _hash(text: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=8).digest(), 'big'
    )


class _Asides:
    """rejects.jsonl, and with filter='correct' the reviews to ask the teacher again, each once."""

    def __init__(self, folder: Path, config: FilterConfig):
        self._folder, self._config = folder, config
        self._asked: set[int] = set()

    def __enter__(self) -> '_Asides':
        self._rejects = open(self._folder / REJECTS, 'w', encoding='utf-8', errors='replace')
        self._again = None
        if self._config.filter == 'correct':
            (self._folder / 'again').mkdir()
            self._again = open(
                self._folder / 'again' / 'reviews.jsonl', 'w', encoding='utf-8', errors='replace'
            )
        return self

    def __exit__(self, *_) -> None:
        self._rejects.close()
        if self._again is not None:
            self._again.close()

    def write(self, read: Examined, decision: Decision, place: int) -> None:
        """What an answer lost, and the review to ask again, named by its place: ids may repeat."""
        answer = read.answer
        if decision.reasons:
            row = {
                'id': answer.id,
                'kind': answer.kind,
                'rejected': decision.example is None,
                'reasons': decision.reasons,
                'opinions': decision.lost,
                'answer': answer.output,
                'teacher': answer.teacher,
            }
            self._rejects.write(json.dumps(row, ensure_ascii=False, default=vars) + '\n')
        if decision.again and self._again is not None and place not in self._asked:
            self._asked.add(place)
            review = Review(f'{place:016x}', read.source.text, answer.domain, answer.rating)
            self._again.write(to_json(review) + '\n')

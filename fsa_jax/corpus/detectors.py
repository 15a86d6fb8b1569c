"""How well the detectors find errors that are known: precision and recall on the lab's truth.

The lab's teacher errs on purpose and keeps what it did (lab.teacher.Mistake). A detector says of an
answer whether it holds an error of its kind.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsa_jax.corpus.filters import Examined
from fsa_jax.errors import UserError
from fsa_jax.lab.teacher import fingerprint
from fsa_jax.records import SENTIMENT_LEVELS

Detected = frozenset[str]
Answer = tuple[str, str]
"""The id of an answer and its fingerprint."""

DETECTORS = {
    'string support': ('made_up_target', 'a target that nothing in the review bears'),
    'stars': ('wrong_sentiment', 'a sentiment on the other side of 1 or 5 stars'),
    'form': (
        'malformed',
        'cut, stopped mid-sentence, oddly formed, or a sentiment that is no level',
    ),
    'self-check': ('any', 'the teacher, asked again, takes an opinion back'),
}
_ABOUT_OPINIONS = ('made_up_target', 'wrong_sentiment')  # what a self-check of opinions can see


@dataclass(frozen=True)
class Score:
    """Answers with the error, answers that the detector named, and both."""

    errors: int
    flagged: int
    both: int

    @property
    def precision(self) -> float:
        """Share of the flagged answers that hold the error."""
        return self.both / self.flagged if self.flagged else 0.0

    @property
    def recall(self) -> float:
        """Share of the answers with the error that are flagged."""
        return self.both / self.errors if self.errors else 0.0


def detect(read: Examined) -> Detected:
    """The names of the detectors that find something in an answer."""
    codes = {code for found in read.opinion_problems for code in found}
    odd = any(o.raw_sentiment not in SENTIMENT_LEVELS for o in read.opinions)
    named = {
        'string support': 'unsupported_target' in codes,
        'stars': 'against_stars' in codes,
        'form': bool(read.cut or read.truncated or set(read.forms) - {'none'}) or odd,
        'self-check': 'self_check' in codes,
    }
    return frozenset(name for name, found in named.items() if found)


def answer_of(read: Examined) -> Answer:
    """Which answer it is."""
    return read.answer.id, fingerprint(read.answer.output)


def score(truth: Path, detected: dict[Answer, Detected]) -> dict[str, Any]:
    """{detector: precision, recall and counts} over the analyses that `truth` knows."""
    mistakes = {answer: kinds for answer, kinds in _read_truth(truth).items() if answer in detected}
    if not mistakes:
        raise UserError(
            f'CorpusConfig.truth: {truth} knows none of these answers; it is of those in the corpus/ beside it'
        )
    result = {}
    for name, (kind, meaning) in DETECTORS.items():
        wrong = {
            i for i, kinds in mistakes.items() if kind in kinds or (kind == 'any' and not kinds.isdisjoint(_ABOUT_OPINIONS))
        }  # fmt: skip
        flagged = {i for i in mistakes if name in detected[i]}
        found = Score(len(wrong), len(flagged), len(wrong & flagged))
        if name == 'self-check' and not flagged:
            continue  # it was not asked
        result[name] = {
            'error': kind,
            'meaning': meaning,
            'answers': len(mistakes),
            'errors': found.errors,
            'flagged': found.flagged,
            'precision': found.precision,
            'recall': found.recall,
        }
    return result


def _read_truth(folder: Path) -> dict[Answer, set[str]]:
    """{analysis: the kinds of its mistakes}."""
    files = sorted(folder.rglob('*.jsonl')) if folder.is_dir() else [folder]
    known: dict[Answer, set[str]] = {}
    for file in files:
        for number, line in enumerate(file.read_text('utf-8').splitlines(), 1):
            try:
                record = json.loads(line)
                if record['kind'] == 'analysis':
                    kinds = {mistake['kind'] for mistake in record['mistakes']}
                    known[record['id'], record['answer']] = kinds
            except (ValueError, KeyError, TypeError):
                raise UserError(
                    f"{file}:{number}: not a line of the lab's truth (lab.teacher.Truth)"
                ) from None
    return known

"""Which reviews are implicit: most of what they let one feel is told, not stated.

Two labellers answer. The cue score is the share of a review's clauses that hold a sentiment-bearing
word (cues.txt); a review of at most a third is implicit. An earlier analysis by a teacher is more
exact: a review is implicit when the reasoning says so of at least half of its opinions.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from fsa_jax.configs import LabConfig
from fsa_jax.corpus.parse import parse_analysis
from fsa_jax.corpus.words import words
from fsa_jax.data.corpus_files import read_answers
from fsa_jax.errors import UserError
from fsa_jax.lab.teacher import Teacher
from fsa_jax.lab.world import DOMAINS, World
from fsa_jax.lab.writer import Text

Labeller = Callable[[str], bool | None]
"""Whether a review is implicit; None where that is not known."""

_MOST_CUES = 1 / 3  # of the clauses of an implicit review
_CLAUSE = re.compile(r'[.!?;:,\n]+|\b(?:and|but|although|though|while|however|whereas|yet)\b', re.I)
_IMPLIED = re.compile(r'\b(?:imply|implie[sd]|implying|implicit\w*|implication|infer\w*)\b', re.I)
_LAB_REVIEWS = 500  # of each domain
_HELD_OUT = 1  # seed of the world that judges a labeller; cues.txt was made on seed 0


def cue_score(text: str) -> float:
    """Share of the clauses that hold a cue; a single word that is none is no clause."""
    clauses = list(map(words, _CLAUSE.split(text)))
    stated = sum(not _cues().isdisjoint(clause) for clause in clauses)
    plain = sum(len(clause) > 1 and _cues().isdisjoint(clause) for clause in clauses)
    return stated / max(1, stated + plain)


def by_cues(text: str) -> bool:
    """The labeller by cue score."""
    return cue_score(text) <= _MOST_CUES


def is_implied(analysis: str, review: str) -> bool | None:
    """Whether an analysis calls at least half of its opinions implied; None: it lists none."""
    opinions = parse_analysis(analysis, review).opinions
    implied = sum(bool(_IMPLIED.search(opinion.reasoning)) for opinion in opinions)
    return 2 * implied >= len(opinions) if opinions else None


class Analyses:
    """The labeller by an earlier analysis: reviews are told by their words."""

    def __init__(self, pairs: Iterable[tuple[str, str]]):
        """`pairs` are (review, analysis)."""
        self._labels = {
            ' '.join(words(review)): is_implied(answer, review) for review, answer in pairs
        }

    def __call__(self, text: str) -> bool | None:
        return self._labels.get(' '.join(words(text)))


def read_analyses(path: Path) -> Analyses:
    """The analyses in an output of `fsa teach` or `fsa corpus`; UserError where there are none."""
    pairs = [(review, a.output) for a, review in read_answers(path) if a.kind == 'analysis']
    if not pairs:
        raise UserError(
            f'ReviewsConfig.implicit_from: {path} holds no analysis; expected the output of '
            '`fsa teach` or of `fsa corpus`'
        )
    return Analyses(pairs)


# ---------------------------------------------------------------------------------------------
# How good a labeller is


class Quality(NamedTuple):
    """Of `reviews`, `implicit` are so in truth; precision and recall of a labeller on them."""

    reviews: int
    implicit: int
    precision: float
    recall: float


def lab_quality(by_analysis: bool, seed: int = _HELD_OUT) -> Quality:
    """A labeller against the truth of a world of `seed`: half of the opinions or more have no opinion words.

    The seeds share their lexicon, so this says how stable the labeller is, not how it does on reviews
    that people wrote.
    """
    world = World(LabConfig(seed=seed))
    reviews = [text for domain in DOMAINS for text in world.reviews(domain, _LAB_REVIEWS)]
    told = _lab_analyses(world, reviews) if by_analysis else by_cues
    labels = [bool(told(review.text)) for review in reviews]
    truth = [_is_implicit(review) for review in reviews]
    both = sum(map(min, labels, truth))
    return Quality(len(reviews), sum(truth), both / max(1, sum(labels)), both / max(1, sum(truth)))


def _is_implicit(review: Text) -> bool:
    return 2 * sum(not opinion.words for opinion in review.opinions) >= len(review.opinions)


def _lab_analyses(world: World, reviews: list[Text]) -> Analyses:
    """What the lab's teacher, which errs, says of its reviews."""
    rng = Random(world.config.seed)
    teachers = {name: Teacher(world.config, domain, rng) for name, domain in DOMAINS.items()}
    return Analyses((r.text, teachers[r.domain].answer('analysis', r)[0]) for r in reviews)


@cache
def _cues() -> frozenset[str]:
    lines = (Path(__file__).parent / 'cues.txt').read_text('utf-8').splitlines()
    return frozenset(word for line in lines if not line.startswith('#') for word in line.split())

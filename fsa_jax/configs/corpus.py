"""Teacher answers to a corpus: which answers, which filters, in which form."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.configs.prompts import PROMPT_KINDS
from fsa_jax.errors import UserError

JUNK = (
    'preamble',
    'heading',
    'continuation',
    'meta',
    'echo',
    'url',
    'placeholder',
    'incomplete',
    'repeat',
    'cut',
)


@dataclass(frozen=True)
class CorpusConfig(Config):
    """The corpus: which answers it takes and how it writes them."""

    answers: str = knob(
        '', 'folder of `fsa teach`, or published answers in any known form (file or folder)'
    )
    again: str = knob(
        '',
        'answers of the reviews in again/, asked once more: a good one replaces the first answer',
    )
    kinds: tuple[str, ...] = knob(PROMPT_KINDS, 'prompt kinds that are taken')
    domains: tuple[str, ...] = knob((), 'domains that are taken; empty: all')
    size: int = knob(
        0,
        'reviews taken, before filters; a smaller number takes a part of a larger one; 0: all',
        low=0,
    )
    seed: int = knob(0, 'seed of that draw, and of the examples in the report', low=0)
    targets: Literal['raw', 'clean'] = knob(
        'clean', "'raw': the answer as it is (the paper); 'clean': rendered anew from its opinions"
    )
    reasoning: bool = knob(True, "render the reasoning of each opinion (with targets='clean')")
    validation_fraction: float = knob(
        0.01, 'share of the reviews for validation, by a hash of their words', low=0.0, high=0.5
    )
    shard_size: int = knob(100_000, 'examples in a file', low=1)
    parquet: bool = knob(True, 'write Parquet files that datasets.load_dataset reads, too')
    examples: int = knob(20, 'examples of each kind in the quality report; 0: rates only', low=0)
    truth: str = knob(
        '', "folder of the lab's truth: scores the detectors on errors that are known"
    )
    questions: bool = knob(
        False,
        'write questions for a self-check: `fsa teach` has the teacher judge its own analyses',
    )
    compare: tuple[str, ...] = knob((), 'corpora to print side by side; writes nothing')

    def check(self):
        for kind in self.kinds:
            if kind not in PROMPT_KINDS:
                raise UserError(
                    f'CorpusConfig.kinds: expected {" or ".join(PROMPT_KINDS)}; got {kind!r}'
                )
        if not self.kinds:
            raise UserError(
                f'CorpusConfig.kinds is empty; expected some of {", ".join(PROMPT_KINDS)}'
            )
        if self.targets == 'raw' and not self.reasoning:
            raise UserError(
                "CorpusConfig.reasoning=False needs CorpusConfig.targets='clean': a raw answer is not rendered"
            )
        if len(self.compare) == 1:
            raise UserError('CorpusConfig.compare needs two corpora or more: --compare A B')


@dataclass(frozen=True)
class FilterConfig(Config):
    """What is wrong with an answer or an opinion, and what happens then."""

    filter: Literal['drop', 'correct', 'keep'] = knob(
        'drop',
        "'drop' what fails a filter; 'correct' a target from the review, and list what to ask again; "
        "'keep' it, flagged",
    )
    unsupported_target: bool = knob(
        True, 'an opinion fails when nothing in the review bears its target'
    )
    no_sentiment: bool = knob(
        True, "an opinion fails when its sentiment says nothing ('Not specified')"
    )
    no_aspect: bool = knob(False, 'an opinion fails without an aspect')
    false_quotation: bool = knob(
        False, 'an opinion fails when its reasoning quotes what the review does not hold'
    )
    against_stars: bool = knob(False, "an opinion fails when it contradicts the review's stars")
    self_check: str = knob(
        '',
        "an opinion fails when the teacher takes it back: folder of answers to the self-check's questions",
    )
    min_opinions: int = knob(
        1, 'fewest opinions of an analysis, unless it says that there are none', low=1
    )
    max_opinions: int = knob(20, 'most opinions of an analysis', low=1)
    junk: tuple[str, ...] = knob(
        ('continuation', 'echo', 'url', 'cut'),
        "what was cut that makes a raw answer fail (targets='raw'): codes of the quality report",
    )
    truncated: bool = knob(True, 'a rewriting, or a raw answer, fails when it stops mid-sentence')
    first_person: bool = knob(True, 'a rewriting fails unless it speaks in the first person')
    min_length_ratio: float = knob(0.5, 'least words of a rewriting for one of the review', low=0.0)
    max_length_ratio: float = knob(8.0, 'most words of a rewriting for one of the review', low=0.0)
    new_numbers: int = knob(0, 'most numbers of a rewriting that the review does not hold', low=0)
    new_names: int = knob(1, 'most names of a rewriting that the review does not hold', low=0)
    copied: float = knob(
        0.8, 'largest share of a rewriting (runs of five words) that is copied', low=0.0, high=1.0
    )
    duplicates: bool = knob(True, 'the second answer of one kind to the same review fails')

    def check(self):
        for code in self.junk:
            if code not in JUNK:
                raise UserError(f'FilterConfig.junk: {code!r} is none of {", ".join(JUNK)}')
        if self.min_length_ratio > self.max_length_ratio:
            raise UserError(
                f'FilterConfig.min_length_ratio={self.min_length_ratio} is over max_length_ratio='
                f'{self.max_length_ratio}'
            )

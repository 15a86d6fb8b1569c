"""What is wrong with an answer, and what becomes of it: kept, corrected, asked again or rejected.

`examine` reads one answer and finds every problem, whatever the filters say; `Filters.decide` makes an
example of it. Each problem has a code, and every code is counted and kept.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from fsa_jax.configs import CorpusConfig, FilterConfig
from fsa_jax.corpus import analysis
from fsa_jax.corpus.grounding import Source, quotations
from fsa_jax.corpus.parse import parse_analysis
from fsa_jax.corpus.rewriting import is_truncated, parse_rewriting
from fsa_jax.records import SENTIMENT_LEVELS, CorpusExample, Generation, Opinion

OPINION_PROBLEMS = {
    'unsupported_target': 'nothing in the review bears the target',
    'no_sentiment': 'the sentiment says nothing',
    'no_aspect': 'the opinion names no aspect',
    'false_quotation': 'the reasoning quotes what the review does not hold',
    'against_stars': "the sentiment contradicts the review's stars",
    'self_check': 'the teacher takes it back',
}
ANSWER_PROBLEMS = {
    'empty': 'nothing is left of the answer',
    'few_opinions': 'fewer opinions than FilterConfig.min_opinions',
    'many_opinions': 'more opinions than FilterConfig.max_opinions',
    'junk': 'the raw answer holds what a clean one would not',
    'truncated': 'it stops mid-sentence',
    'not_first_person': 'the rewriting does not speak in the first person',
    'short': 'the rewriting is too short for its review',
    'long': 'the rewriting is too long for its review',
    'new_numbers': 'the rewriting holds numbers that the review does not',
    'new_names': 'the rewriting holds names that the review does not',
    'copied': 'the rewriting copies its review',
    'duplicate': 'the review has such an answer already',
}
CORRECTED = 'corrected'  # flag of an example in which a target was re-grounded


@dataclass(frozen=True)
class Examined:
    """An answer as it was read, with its problems.

    `text` is what a clean target would be, but for an analysis, which is rendered of `opinions`.
    `cut` are codes of what was cut from it, `forms` those of its oddities. `opinion_problems` are the
    codes of each opinion; `quotations` is (not in the review, all).
    """

    answer: Generation
    source: Source
    text: str
    opinions: tuple[Opinion, ...]
    opinion_problems: tuple[tuple[str, ...], ...]
    problems: tuple[str, ...]
    cut: tuple[str, ...]
    forms: tuple[str, ...]
    truncated: bool
    length_ratio: float
    quotations: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Decision:
    """What becomes of an answer: an example, or None; `lost` are opinions that were left out.

    `reasons` are the codes for which something was cut, left out or rejected, in order of their
    discovery; `again` asks the teacher for the answer once more.
    """

    example: CorpusExample | None
    reasons: tuple[str, ...]
    lost: tuple[Opinion, ...] = ()
    again: bool = False


def examine(
    answer: Generation, review: str, config: FilterConfig, taken_back: Collection[int] = ()
) -> Examined:
    """Reads one answer about `review`; `taken_back` numbers the opinions that a self-check denies."""
    source = Source(review)
    if answer.kind == 'rewriting':
        return _examine_rewriting(answer, source, config)
    parsed = parse_analysis(answer.output, source, answer.finish_reason)
    quoted = [[source.quotes(q) for q in quotations(o.reasoning)] for o in parsed.opinions]
    problems = tuple(
        _opinion_problems(o, all(found), answer.rating, number in taken_back)
        for number, (o, found) in enumerate(zip(parsed.opinions, quoted), 1)
    )
    marks = [mark for found in quoted for mark in found]
    return Examined(
        answer=answer,
        source=source,
        text='',
        opinions=parsed.opinions,
        opinion_problems=problems,
        problems=('truncated',) if parsed.truncated else (),
        cut=parsed.reasons,
        forms=parsed.forms,
        truncated=parsed.truncated,
        length_ratio=0.0,
        quotations=(marks.count(False), len(marks)),
    )


def _opinion_problems(
    opinion: Opinion, quoted: bool, stars: float | None, taken_back: bool
) -> tuple[str, ...]:
    found = (
        ('unsupported_target', opinion.target_support == 'unsupported'),
        ('no_sentiment', opinion.sentiment is None),
        ('no_aspect', not opinion.aspect),
        ('false_quotation', not quoted),
        ('against_stars', contradicts(opinion.sentiment, stars)),
        ('self_check', taken_back),
    )
    return tuple(code for code, there in found if there)


def contradicts(level: str | None, stars: float | None) -> bool:
    """Whether a level is on the other side of extreme stars: criticism at 5 stars, praise at 1."""
    if level is None or stars is None or 1.5 < stars < 4.5:
        return False
    side = SENTIMENT_LEVELS.index(level) - 2
    return side * (stars - 3) < 0


def _examine_rewriting(answer: Generation, source: Source, config: FilterConfig) -> Examined:
    read = parse_rewriting(answer.output, source, answer.finish_reason)
    found = (
        ('empty', not read.text),
        ('truncated', read.truncated),
        ('not_first_person', not read.first_person),
        ('short', read.length_ratio < config.min_length_ratio),
        ('long', read.length_ratio > config.max_length_ratio),
        ('new_numbers', len(read.numbers) > config.new_numbers),
        ('new_names', len(read.names) > config.new_names),
        ('copied', read.copied > config.copied),
    )
    return Examined(
        answer=answer,
        source=source,
        text=read.text,
        opinions=(),
        opinion_problems=(),
        problems=tuple(code for code, there in found if there),
        cut=read.reasons,
        forms=(),
        truncated=read.truncated,
        length_ratio=read.length_ratio,
    )


class Filters:
    """The filters of a run."""

    def __init__(self, corpus: CorpusConfig, config: FilterConfig):
        self.corpus, self.config = corpus, config
        chosen = {
            'unsupported_target': config.unsupported_target,
            'no_sentiment': config.no_sentiment,
            'no_aspect': config.no_aspect,
            'false_quotation': config.false_quotation,
            'against_stars': config.against_stars,
            'self_check': bool(config.self_check),
            'not_first_person': config.first_person,
            'truncated': config.truncated,
            'duplicate': config.duplicates,
        }
        self._off = {code for code, on in chosen.items() if not on}
        self._raw = corpus.targets == 'raw'

    def decide(self, read: Examined, duplicate: bool) -> Decision:
        """The example that becomes of an answer, or why there is none."""
        opinions, problems, corrected = self._corrected(read)
        failing = [not self._off.issuperset(codes) for codes in problems]
        if self.config.filter == 'keep' or self._raw:
            kept, lost = opinions, tuple[Opinion, ...]()
        else:
            kept = tuple(o for o, fails in zip(opinions, failing) if not fails)
            lost = tuple(o for o, fails in zip(opinions, failing) if fails)
        found = [code for codes in problems for code in codes if code not in self._off]
        rejected = [c for c in self._answer_problems(read, kept, duplicate) if c not in self._off]
        if self._raw:
            rejected = [*rejected, *found]
        target = self._target(read, kept)
        keeps = self.config.filter == 'keep' and 'duplicate' not in rejected
        if not target:
            rejected, keeps = ['empty'], False
        reasons = tuple(dict.fromkeys([*read.cut, *found, *rejected]))
        again = self.config.filter == 'correct' and bool(lost or rejected) and not duplicate
        if rejected and not keeps:
            return Decision(None, reasons, opinions, again)
        flags = (*reasons, *([CORRECTED] if corrected else []))
        return Decision(_example(read, kept, target, flags), reasons, lost, again)

    def _corrected(
        self, read: Examined
    ) -> tuple[tuple[Opinion, ...], tuple[tuple[str, ...], ...], bool]:
        """(opinions, problems of each, whether a target was put into the review's own words)."""
        if self.config.filter != 'correct':
            return read.opinions, read.opinion_problems, False
        opinions, problems, corrected = [], [], False
        for opinion, codes in zip(read.opinions, read.opinion_problems):
            verbatim = opinion.target_support == 'verbatim'
            anchor = '' if verbatim else read.source.ground(opinion.target)
            if anchor:
                opinion = replace(opinion, target=anchor, target_support='verbatim')
                codes = tuple(code for code in codes if code != 'unsupported_target')
                corrected = True
            opinions.append(opinion)
            problems.append(codes)
        return tuple(opinions), tuple(problems), corrected

    def _answer_problems(
        self, read: Examined, kept: tuple[Opinion, ...], duplicate: bool
    ) -> list[str]:
        found = ['duplicate'] if duplicate else []
        if read.answer.kind == 'rewriting':
            return [*found, *self._rewriting_problems(read)]
        if len(kept) < self.config.min_opinions and 'none' not in read.forms:
            found.append('few_opinions')
        if len(kept) > self.config.max_opinions:
            found.append('many_opinions')
        if self._raw:
            found += read.problems
            found += ['junk'] if set(read.cut) & set(self.config.junk) else []
        return found

    def _rewriting_problems(self, read: Examined) -> list[str]:
        """Those of the rewriting; what becomes a target as it is must also end as a whole."""
        if not self._raw:
            return list(read.problems)
        truncated = is_truncated(read.answer.output.strip(), read.answer.finish_reason)
        return [c for c in read.problems if c != 'truncated'] + ['truncated'] * truncated

    def _target(self, read: Examined, kept: tuple[Opinion, ...]) -> str:
        if self._raw:
            return read.answer.output.strip()
        if read.answer.kind == 'rewriting':
            return read.text
        return analysis.render(kept, self.corpus.reasoning)


def _example(
    read: Examined, opinions: tuple[Opinion, ...], target: str, flags: tuple[str, ...]
) -> CorpusExample:
    answer = read.answer
    return CorpusExample(
        id=answer.id,
        domain=answer.domain,
        rating=answer.rating,
        kind=answer.kind,
        input=answer.input,
        target=target,
        opinions=opinions,
        flags=flags,
        teacher=answer.teacher,
        prompt_hash=answer.prompt_hash,
        prompt=answer.prompt,
    )

"""The quality of a teacher's answers: counted one by one, summed up as rates.

Counts are of all answers. What grows with the number of answers (distinct targets, aspects and n-grams,
near-copies) is measured on a seeded sample of one size, so that corpora of different sizes compare.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsa_jax.corpus.filters import Decision, Examined
from fsa_jax.corpus.grounding import SUPPORTS
from fsa_jax.corpus.near_duplicates import near_copies
from fsa_jax.corpus.words import words
from fsa_jax.records import SENTIMENT_LEVELS, Opinion

SAMPLE = 1000  # answers of a kind in the sample
NEAR = 0.8  # share of word triples in common that makes a near-copy
_RAW = 10_000  # distinct sentiment strings counted; the rest are one
_TOP = 15  # most frequent values shown
SILENT = 'none'  # column of the sentiments that say nothing


@dataclass(order=True)
class _Ranked:
    """Something kept by its rank: the smallest ranks of a stream are a random sample of it."""

    rank: int
    item: Any = field(compare=False)


class _Sample:
    """The `size` items of smallest rank."""

    def __init__(self, size: int):
        self._size = size
        self._heap: list[_Ranked] = []

    def wants(self, rank: int) -> bool:
        """Whether an item of that rank would be kept."""
        return len(self._heap) < self._size or (self._size > 0 and -rank > self._heap[0].rank)

    def add(self, rank: int, item: Any) -> None:
        """Keeps an item, and lets the largest rank go where there are too many."""
        heapq.heappush(self._heap, _Ranked(-rank, item))
        if len(self._heap) > self._size:
            heapq.heappop(self._heap)

    def items(self) -> list[Any]:
        """What is kept, the smallest rank first."""
        return [kept.item for kept in sorted(self._heap, reverse=True)]


@dataclass
class _Kind:
    """The counts of one prompt kind."""

    answers: int = 0
    examples: int = 0
    words: int = 0
    truncated: int = 0
    stray: int = 0
    length_ratio: float = 0.0
    quotations: int = 0
    false_quotations: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    opinions: Counter[int] = field(default_factory=Counter)
    supports: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    raw_sentiments: Counter[str] = field(default_factory=Counter)
    stars: dict[str, Counter[str]] = field(default_factory=dict)
    sample: _Sample = field(default_factory=lambda: _Sample(SAMPLE))


_STRAY = {'preamble', 'continuation', 'meta', 'echo', 'url'}


class Quality:
    """Adds answers up; `examples` of each code are kept, drawn with `seed`."""

    def __init__(self, examples: int, seed: int):
        self._examples, self._seed = examples, seed
        self._kinds: dict[str, _Kind] = {}
        self._shown: dict[str, _Sample] = {}
        self._teachers: Counter[str] = Counter()
        self._domains: Counter[str] = Counter()

    def add(self, read: Examined, decision: Decision) -> None:
        """Counts one answer."""
        answer = read.answer
        self._teachers[answer.teacher or 'unknown'] += 1
        self._domains[answer.domain or 'unknown'] += 1
        kind = self._kinds.setdefault(answer.kind, _Kind())
        codes = _codes(read, decision)
        _count(kind, read, decision, codes)
        rank = _rank(self._seed, answer.id, answer.kind)
        if kind.sample.wants(rank):
            kind.sample.add(rank, (answer.output, read.opinions))
        for code in codes or ('as it is',):
            shown = self._shown.setdefault(f'{answer.kind}/{code}', _Sample(self._examples))
            if shown.wants(rank):
                shown.add(rank, _example(read, decision))

    def summary(self) -> dict[str, Any]:
        """All rates and counts, as quality.json holds them."""
        return {
            'answers': sum(k.answers for k in self._kinds.values()),
            'examples': sum(k.examples for k in self._kinds.values()),
            'teachers': dict(self._teachers.most_common()),
            'domains': dict(self._domains.most_common()),
            'kinds': {
                name: _summary(self._kinds[name], named=bool(self._examples))
                for name in sorted(self._kinds)
            },
        }

    def examples(self) -> dict[str, list[dict[str, Any]]]:
        """{'kind/code': examples}, the codes in the order of their names."""
        return {code: self._shown[code].items() for code in sorted(self._shown)}


def _count(kind: _Kind, read: Examined, decision: Decision, codes: Sequence[str]) -> None:
    kind.answers += 1
    kind.examples += decision.example is not None
    kind.words += len(read.answer.output.split())
    kind.truncated += read.truncated
    kind.stray += not _STRAY.isdisjoint(read.cut)
    kind.length_ratio += read.length_ratio
    for code in codes:
        kind.reasons[code] += 1
    for form in read.forms:
        kind.forms[form] += 1
    kind.false_quotations += read.quotations[0]
    kind.quotations += read.quotations[1]
    if read.answer.kind != 'analysis':
        return
    kind.opinions[len(read.opinions)] += 1
    stars = _stars(read.answer.rating)
    row = kind.stars.setdefault(stars, Counter())
    for opinion in read.opinions:
        kind.supports[opinion.target_support] += 1
        level = opinion.sentiment or SILENT
        kind.levels[level] += 1
        row[level] += 1
        raw = opinion.raw_sentiment
        full = len(kind.raw_sentiments) >= _RAW and raw not in kind.raw_sentiments
        kind.raw_sentiments['others' if full else raw] += 1


def _stars(rating: float | None) -> str:
    return 'not rated' if rating is None else f'{rating:.0f}'


def _codes(read: Examined, decision: Decision) -> Sequence[str]:
    """Every code of an answer, filtered or not."""
    problems = (code for codes in read.opinion_problems for code in codes)
    return tuple(dict.fromkeys([*read.cut, *problems, *read.problems, *decision.reasons]))


def _rank(seed: int, *parts: str) -> int:
    text = '\0'.join([str(seed), *parts]).encode('utf-8', 'replace')
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'big')


def _example(read: Examined, decision: Decision) -> dict[str, Any]:
    return {
        'id': read.answer.id,
        'stars': _stars(read.answer.rating),
        'review': read.source.text,
        'answer': read.answer.output.strip(),
        'target': decision.example.target if decision.example else '',
        'opinions': [
            vars(opinion) | {'problems': codes}
            for opinion, codes in zip(read.opinions, read.opinion_problems)
        ],
        'codes': _codes(read, decision),
    }


# ---------------------------------------------------------------------------------------------
# The sums


def _summary(kind: _Kind, named: bool) -> dict[str, Any]:
    """The rates of a kind; without `named` no target and no aspect is named."""
    count = kind.answers
    result: dict[str, Any] = {
        'answers': count,
        'examples': kind.examples,
        'words': _ratio(kind.words, count),
        'truncated': _ratio(kind.truncated, count),
        'with_stray_lines': _ratio(kind.stray, count),
        'reasons': {code: _ratio(n, count) for code, n in kind.reasons.most_common()},
        'diversity': _diversity(kind.sample.items(), named),
    }
    if not kind.opinions:
        return result | {'length_ratio': kind.length_ratio / count}
    opinions = kind.levels.total()
    known = opinions - kind.levels[SILENT]
    exact = sum(n for raw, n in kind.raw_sentiments.items() if raw in SENTIMENT_LEVELS)
    return result | {
        'forms': {code: _ratio(n, count) for code, n in kind.forms.most_common()},
        'opinions': {
            'all': opinions,
            'mean': _ratio(opinions, count),
            'most': max(kind.opinions),
            'histogram': {str(n): kind.opinions[n] for n in sorted(kind.opinions)},
        },
        'target_support': {name: _ratio(kind.supports[name], opinions) for name in SUPPORTS},
        'quotations': {
            'all': kind.quotations,
            'not_in_review': _ratio(kind.false_quotations, kind.quotations),
        },
        'sentiment': {
            'levels': {name: kind.levels[name] for name in (*SENTIMENT_LEVELS, SILENT)},
            'one_of_five': _ratio(exact, opinions),
            'normalised': _ratio(known, opinions),
            'distinct_strings': len(kind.raw_sentiments),
            'strings': dict(kind.raw_sentiments.most_common(_TOP)),
        },
        'stars': {
            stars: {name: kind.stars[stars][name] for name in (*SENTIMENT_LEVELS, SILENT)}
            for stars in sorted(kind.stars)
        },
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _diversity(sample: list[tuple[str, tuple[Opinion, ...]]], named: bool) -> dict[str, Any]:
    """What is distinct in a sample: shares of n-grams, targets and aspects; near-copies.

    With `named` the most frequent targets and aspects are listed.
    """
    texts = [words(output) for output, _ in sample]
    opinions = [opinion for _, found in sample for opinion in found]
    targets = Counter(' '.join(words(o.target)) for o in opinions)
    aspects = Counter(aspect for o in opinions if (aspect := ' '.join(words(o.aspect))))
    result: dict[str, Any] = {
        'sample': len(sample),
        'near_copies': _ratio(near_copies(texts, NEAR), len(texts)),
        'distinct_ngrams': {str(n): _distinct(texts, n) for n in (1, 2, 3)},
    }
    if targets:
        result |= {
            'distinct_targets': _ratio(len(targets), targets.total()),
            'distinct_aspects': _ratio(len(aspects), aspects.total()),
        }
    if targets and named:
        result |= {
            'targets': dict(targets.most_common(_TOP)),
            'aspects': dict(aspects.most_common(_TOP)),
        }
    return result


def _distinct(texts: Iterable[list[str]], n: int) -> float:
    """Distinct n-grams over all n-grams (distinct-n, Li et al. 2016)."""
    grams: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        grams.update(zip(*(text[i:] for i in range(n))))
        total += max(0, len(text) - n + 1)
    return _ratio(len(grams), total)

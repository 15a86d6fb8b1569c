"""The rates of a quality report as rows: one list for the page, the console and the comparison."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fsa_jax.corpus import filters, parse, rewriting
from fsa_jax.corpus.grounding import SUPPORTS

_CUT = {'analysis': parse.REASONS, 'rewriting': rewriting.REASONS}
_SUPPORT = {
    'verbatim': 'the target stands in the review',
    'normalised': 'its words do, in other forms or order',
    'implicit': 'the review bears it without naming it',
    'unsupported': 'nothing in the review bears it',
}


@dataclass(frozen=True)
class Rate:
    """One row. `share` is between 0 and 1, None where `value` is no share; `bad` where less is better."""

    code: str
    meaning: str
    value: str
    share: float | None = None
    bad: bool = False


@dataclass(frozen=True)
class Section:
    """Rows under one title; `of` says what the shares are shares of."""

    title: str
    of: str
    rows: list[Rate]


def sections(kind: str, rates: Mapping[str, Any]) -> list[Section]:
    """The sections of one prompt kind of quality.json."""
    return [s for s in _sections(kind, rates) if s.rows]


def _sections(kind: str, rates: Mapping[str, Any]) -> Iterator[Section]:
    yield Section('Answers', 'of the answers', list(_overview(kind, rates)))
    codes = rates['reasons']
    cut, problems = _CUT[kind], filters.OPINION_PROBLEMS | filters.ANSWER_PROBLEMS
    yield Section('What was cut', 'of the answers', _coded(codes, cut))
    yield Section('What fails a filter', 'of the answers', _coded(codes, problems))
    if kind == 'analysis':
        yield Section('Oddities of form', 'of the answers', _coded(rates['forms'], parse.FORMS))
        support = rates['target_support']
        rows = [
            _share(name, _SUPPORT[name], support[name], name == 'unsupported') for name in SUPPORTS
        ]
        yield Section('Targets in the review', 'of the opinions', rows)
    yield Section(
        'Diversity',
        f'on a sample of {rates["diversity"]["sample"]:,} answers',
        list(_diversity(rates)),
    )


def _overview(kind: str, rates: Mapping[str, Any]) -> Iterator[Rate]:
    yield Rate('answers', 'read', f'{rates["answers"]:,}')
    yield _share('kept', 'became an example', _over(rates['examples'], rates['answers']))
    yield Rate('words', 'of an answer, mean', f'{rates["words"]:.0f}')
    yield _share('truncated', 'stops mid-sentence', rates['truncated'], True)
    yield _share('stray lines', 'lines that belong to no field', rates['with_stray_lines'], True)
    if kind == 'rewriting':
        yield Rate(
            'length ratio', 'words for one of the review, mean', f'{rates["length_ratio"]:.2f}'
        )
        return
    opinions, sentiment = rates['opinions'], rates['sentiment']
    yield Rate('opinions', 'of an answer, mean', f'{opinions["mean"]:.2f}')
    yield Rate('most opinions', 'of an answer', f'{opinions["most"]}')
    yield _share(
        'one of five', 'sentiments that are a level as they stand', sentiment['one_of_five']
    )
    yield _share('normalised', 'sentiments that become a level', sentiment['normalised'])
    yield Rate('sentiment strings', 'distinct', f'{sentiment["distinct_strings"]:,}')
    wrong = rates['quotations']
    yield _share(
        'false quotations', 'quotations that the review does not hold', wrong['not_in_review'], True
    )


def _diversity(rates: Mapping[str, Any]) -> Iterator[Rate]:
    found = rates['diversity']
    yield _share('near-copies', 'answers that nearly repeat another', found['near_copies'], True)
    for n, share in found['distinct_ngrams'].items():
        yield _share(f'distinct-{n}', f'distinct among all {n}-grams', share)
    for name in ('targets', 'aspects'):
        if f'distinct_{name}' in found:
            yield _share(f'distinct {name}', f'among all {name}', found[f'distinct_{name}'])


def _coded(shares: Mapping[str, float], meanings: Mapping[str, str]) -> list[Rate]:
    return [
        _share(code, meanings[code], share, True)
        for code, share in shares.items()
        if code in meanings
    ]


def _share(code: str, meaning: str, share: float, bad: bool = False) -> Rate:
    return Rate(code, meaning, f'{100 * share:.1f} %', share, bad)


def _over(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

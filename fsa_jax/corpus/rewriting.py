"""A teacher's rewriting of a review: what surrounds it is cut, what it adds to the review is found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fsa_jax.corpus import fields
from fsa_jax.corpus.grounding import Source, stem, words

REASONS = {
    'heading': 'a heading before the text, or quotation marks around it',
    'continuation': 'a made-up review or another task follows',
    'meta': 'notes, confidences, comments on the rewriting',
    'echo': 'JSON, table or code',
    'url': 'an address',
}
_HEADING = re.compile(
    r'\W*(?:here(?:[’\']s| is)\b[^:\n]{0,80}|(?:the\s+)?(?:rewritten|revised|rewrite|rewriting|rephrased)\b[^:\n]{0,40}'
    r'|(?:first[- ]person\s+)?(?:review|version|answer|response|output))\s*:\**\s*',
    re.IGNORECASE,
)
_NEXT = re.compile(
    r'\W*(?:your task|task|original|rewritten|revised|rewrite)\b[^:\n]{0,30}:', re.IGNORECASE
)
_COMMENT = re.compile(
    r'\W*(?:(?:please|kindly)?\s*let me know\b|i hope this\b|feel free\b|word count\b|'
    r'(?:note|n\.?b|id|confidence|consent|disclaimer|explanation|reasoning|sentiment|rating|changes|keywords?|tags?|'
    r'source|summary)\b[^:.!?\n]{0,20}[:=]|(?:this|the|my) (?:updated|revised|rewritten|rephrased|original|above) '
    r'(?:review|version|text)\b|(?:this|the) (?:rewrite|rewriting|revision)\b|in this (?:rewrite|rewriting|version)\b)',
    re.IGNORECASE,
)  # fmt: skip
_FIRST_PERSON = re.compile(r'\b(?:i|me|my|mine|myself|we|us|our|ours|ourselves)\b', re.IGNORECASE)
_NUMBER = re.compile(r'\d+(?:[.,:/]\d+)*')
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve', 'thirteen', 'fourteen', 'fifteen', 'sixteen', 'seventeen', 'eighteen', 'nineteen', 'twenty']
    )
} | {'thirty': '30', 'forty': '40', 'fifty': '50', 'hundred': '100', 'thousand': '1000', 'dozen': '12', 'couple': '2',
     'twice': '2', 'first': '1', 'second': '2', 'third': '3', 'fourth': '4', 'fifth': '5', 'half': '0.5'}  # fmt: skip
_COUNTED = frozenset(_NUMBER_WORDS) - {
    'zero',
    'one',
    'two',
    'first',
    'second',
    'third',
    'half',
    'couple',
    'twice',
}
_NAME = re.compile(r"(?<=[a-z0-9,’'] )[A-Z][A-Za-z]*[a-z][A-Za-z]*(?:’s|'s)?")  # inside a sentence
_NO_NAMES = frozenset(
    [
        'i',
        'monday',
        'tuesday',
        'wednesday',
        'thursday',
        'friday',
        'saturday',
        'sunday',
        'january',
        'february',
        'march',
        'april',
        'may',
        'june',
        'july',
        'august',
        'september',
        'october',
        'november',
        'december',
        'mr',
        'mrs',
        'ms',
        'dr',
        'english',
        'american',
    ]
)
_COPY = 5  # words of a run that counts as copied
_ENDS = tuple('.!?…"”\'’)]*')


@dataclass(frozen=True)
class Rewriting:
    """The cleaned text, codes of what was cut (REASONS), and how it stands to the review.

    `length_ratio` is its words over those of the review; `numbers` and `names` are those that the
    review does not hold; `copied` is the share of its runs of five words that the review holds.
    """

    text: str
    reasons: tuple[str, ...]
    truncated: bool
    first_person: bool
    length_ratio: float
    numbers: tuple[str, ...]
    names: tuple[str, ...]
    copied: float


def parse_rewriting(text: str, review: str | Source, finish_reason: str = '') -> Rewriting:
    """The rewriting in `text`, an answer about `review`; never raises."""
    source = review if isinstance(review, Source) else Source(review)
    kept, reasons = _cut(text)
    own = words(kept)
    # of an answer that went on with something else, the end of the rewriting tells, not that of the answer
    cut_after = bool(reasons - {'heading'})
    return Rewriting(
        text=kept,
        reasons=tuple(code for code in REASONS if code in reasons),
        truncated=not _ended(kept) if cut_after else is_truncated(kept, finish_reason),
        first_person=bool(_FIRST_PERSON.search(kept)),
        length_ratio=len(own) / max(1, len(source.words)),
        numbers=_new_numbers(kept, own, source),
        names=_new_names(kept, source),
        copied=_copied(own, source),
    )


def is_truncated(text: str, finish_reason: str) -> bool:
    """Whether an answer ends with `text` mid-sentence; what the engine says of it counts first."""
    return finish_reason == 'length' or (finish_reason != 'stop' and not _ended(text))


def _ended(text: str) -> bool:
    return not text or text.endswith(_ENDS)


def _cut(text: str) -> tuple[str, set[str]]:
    """(the rewriting alone, codes of what stood around it)."""
    reasons: set[str] = set()
    text = text.strip()
    heading = _HEADING.match(text[:200])
    if heading and heading.end() < len(text):
        text = text[heading.end() :].strip()
        reasons.add('heading')
    kept: list[str] = []
    for line in text.splitlines():
        code = _leaves(line) if any(kept) else ''
        if code:
            reasons.add(code)
            break
        kept.append(fields.plain(line))
    text = '\n'.join(kept).strip()
    if len(text) > 1 and text[0] + text[-1] in ('""', '“”') and text.count(text[0]) <= 2:
        text = text[1:-1].strip()
        reasons.add('heading')
    return text, reasons


def _leaves(line: str) -> str:
    """The code of a line with which the answer leaves the rewriting, '' for a line of it."""
    if not line.strip():
        return ''
    if _NEXT.match(line[:80]) or fields.is_continuation(line):
        return 'continuation'
    if _COMMENT.match(line[:120]):
        return 'meta'
    kind = fields.stray(line)
    return {'rule': 'meta', 'echo': 'echo', 'url': 'url'}.get(kind, '')


def _new_numbers(text: str, own: list[str], source: Source) -> tuple[str, ...]:
    """Numbers, in digits or words, that the review holds in neither form."""
    if not _NUMBER.search(text) and _COUNTED.isdisjoint(own):
        return ()
    there = {n.strip('.,') for n in _NUMBER.findall(source.text)}
    there |= {part for number in there for part in re.split(r'\D', number)}
    there |= {_NUMBER_WORDS[w] for w in source.words if w in _NUMBER_WORDS}
    said = {n: n for n in _NUMBER.findall(text)} | {
        w: _NUMBER_WORDS[w] for w in own if w in _COUNTED
    }
    return tuple(
        written
        for written, value in said.items()
        if value not in there and value.replace(',', '') not in there and value not in source.lower
    )


def _new_names(text: str, source: Source) -> tuple[str, ...]:
    """Capitalised words inside sentences that the review does not hold in any spelling."""
    found = []
    for match in _NAME.finditer(text):
        name = words(match[0].removesuffix("'s").removesuffix('’s'))
        if not name or name[0] in _NO_NAMES or name[0] in source.lower:
            continue
        if stem(name[0]) not in source.stems:
            found.append(match[0])
    return tuple(dict.fromkeys(found))


def _copied(own: list[str], source: Source) -> float:
    if len(own) < _COPY:
        return float(bool(own) and f' {" ".join(own)} ' in source.joined)
    runs, there = list(_runs(own)), set(_runs(source.words))
    return sum(map(there.__contains__, runs)) / len(runs)


def _runs(own: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(own[i:] for i in range(_COPY)))

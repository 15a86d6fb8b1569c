"""What a student wrote about a part of a text -> opinions, with their places and probabilities."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from fsa_jax import text_format
from fsa_jax.corpus import fields
from fsa_jax.corpus.parse import parse_analysis
from fsa_jax.corpus.sentiment import polarity
from fsa_jax.data.vocabulary import NEWLINE
from fsa_jax.evaluate import f1
from fsa_jax.records import Opinion
from fsa_jax.student.extraction import Found, Places, Span


class Answer:
    """A generated text, and how probable each stretch of it is."""

    def __init__(self, pieces: Sequence[str], log_probs: Sequence[float]):
        self.text = ''.join(pieces)
        self._ends = list(accumulate(map(len, pieces)))
        self._totals = [0.0, *accumulate(log_probs)]

    def probability(self, spans: Sequence[Span]) -> float:
        """The product over all ids that the characters of `spans` come from; 1 for none."""
        total = 0.0
        for start, end in spans:
            first = bisect_right(self._ends, start)
            last = min(bisect_right(self._ends, end - 1) + 1, len(self._ends))
            total += self._totals[last] - self._totals[first]
        return math.exp(min(total, 0.0))


def read(
    task: str, metric: str, answer: Answer, part: str, offset: int
) -> tuple[list[Found], bool]:
    """The opinions in `answer`, which is about `part`, a slice of a text that begins at `offset`;
    and whether some of it is no opinion."""
    if task == 'rewrite':
        return [], False
    if task in f1.TASKS:
        return _pairs(metric, answer, part, offset)
    found, malformed = _analysis(answer, part, offset)
    return [o for o in found if o.spans] if task == 'zero_shot' else found, malformed


def _pairs(metric: str, answer: Answer, part: str, offset: int) -> tuple[list[Found], bool]:
    task, polarities = f1.parse_metric(metric)
    places, found, malformed, begin = Places(part, offset), [], False, 0
    for text in answer.text.split(';'):
        start = begin + len(text) - len(text.lstrip())
        span = start, begin + len(text.rstrip())  # the space before `;` belongs to what goes on
        begin += len(text) + 1
        parsed = text_format.parse(task, text, part, polarities)
        malformed |= bool(parsed.dropped)
        for name, judged in parsed.pairs:
            place = places.next(name) if task == 'atsa' else None
            if task == 'atsa' and place is None:
                malformed = True  # an empty term, which the scorer keeps and nobody can point at
                continue
            found.append(
                Found(
                    polarity=judged,
                    confidence=answer.probability([span]),
                    spans=(place[1] if place else (offset, offset + len(part)),),
                    term=name if place else '',
                    category='' if place else name,
                )
            )
    return found, malformed


def _analysis(answer: Answer, part: str, offset: int) -> tuple[list[Found], bool]:
    text = answer.text.replace(f'{NEWLINE} ', '\n').replace(NEWLINE, '\n')
    analysis = parse_analysis(text, part)
    places, found, written, cursor = Places(part, offset), [], list(_written(answer.text)), 0
    for opinion in analysis.opinions:
        spans, cursor = _find(answer.text, written, cursor, opinion)
        judged = polarity(opinion.sentiment)
        if judged is None:
            continue  # 'Not specified': the student says that it cannot tell
        place = places.next(opinion.target)
        found.append(
            Found(
                polarity=judged,
                confidence=answer.probability(spans) if spans else 0.0,
                spans=(place[1],) if place else (),
                term=place[0] if place else opinion.target,
                category=opinion.aspect,
                level=opinion.sentiment or '',
                reasoning=opinion.reasoning,
            )
        )
    return found, bool(analysis.reasons)


def _written(text: str) -> Iterator[tuple[str, Span]]:
    """The targets and sentiments of an analysis, in order, each with the span of its line."""
    begin = 0
    for line in text.replace(NEWLINE, '\n' * len(NEWLINE)).split('\n'):
        for field in fields.fields(line):
            if field.name in ('target', 'sentiment'):
                yield field.name, (begin, begin + len(line))
        begin += len(line) + 1


def _find(
    text: str, written: Sequence[tuple[str, Span]], cursor: int, opinion: Opinion
) -> tuple[list[Span], int]:
    """Where the target and the sentiment of the next opinion from `cursor` on are, and the end of the
    last; of a target that several aspects share, only the sentiment."""
    target: list[Span] = []
    other, end = False, cursor  # `other`: the sentiment that follows is about another target
    for name, line in written:
        wanted = opinion.target if name == 'target' else opinion.raw_sentiment
        start = text.find(wanted, max(line[0], end), line[1])
        if name == 'target' and line[1] > cursor:
            target, other = [(start, start + len(wanted))] if start >= 0 else [], start < 0
            end = target[0][1] if target else end
        elif name == 'sentiment' and start >= 0 and not other:
            end = start + len(wanted)
            return [*target, (start, end)], end
    return [], cursor

"""What a student wrote about a part of a text -> opinions, with their places and probabilities."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from fsa_jax import text_format
from fsa_jax.corpus.parse import parse_analysis
from fsa_jax.corpus.sentiment import polarity
from fsa_jax.data.vocabulary import NEWLINE
from fsa_jax.evaluate import f1
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
        span = begin, begin + len(text)
        begin = span[1] + 1
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
    places, found, cursor = Places(part, offset), [], 0
    for opinion in analysis.opinions:
        spans, cursor = _find(answer.text, cursor, opinion.target, opinion.raw_sentiment)
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


def _find(text: str, cursor: int, *wanted: str) -> tuple[list[Span], int]:
    """Where the strings are from `cursor` on, one behind the other, and the end of the last.

    One that is not there again, as a target that several aspects share, is passed over.
    """
    spans = []
    for string in wanted:
        start = text.find(string, cursor) if string else -1
        if start >= 0:
            cursor = start + len(string)
            spans.append((start, cursor))
    return spans, cursor

"""Micro F1 of predicted target strings: the published scorer, and a strict one beside it.

Published: gold and prediction go through the same parser (text_format.parse), which drops malformed
parts in silence. A predicted pair is right if it is among the sentence's gold pairs, a gold pair is
found if it is among the predicted ones; repeats count, and nothing is matched one to one.

    precision = right / predicted (1 if nothing is predicted)     recall = found / gold (1 if no gold)
    F1 = 2 P R / (P + R), 0 if P + R = 0

Strict: gold and predicted pairs are matched one to one, and every dropped part counts as a wrong
prediction.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fsa_jax import text_format
from fsa_jax.errors import UserError, nearest
from fsa_jax.records import POLARITIES

TASKS = ('acsa', 'atsa')
COUNTS = ('predicted', 'right', 'gold', 'found', 'matched', 'dropped')  # columns of `count`


@dataclass(frozen=True)
class Score:
    """Micro precision, recall and F1 in [0, 1], their strict twins, and what they were made of."""

    precision: float
    recall: float
    f1: float
    strict_precision: float
    strict_recall: float
    strict_f1: float
    sentences: int
    predicted: int
    gold: int
    dropped: int


def score(
    task: str, predictions: Sequence[str], golds: Sequence[str], sentences: Sequence[str]
) -> Score:
    """Scores one prediction string a sentence against its gold string.

    `task` is 'acsa' or 'atsa' (see `parse_metric` for polarities of your own). Raises UserError for
    another task or sequences of unequal length.
    """
    return summarise(count(task, predictions, golds, sentences))


def parse_metric(metric: str) -> tuple[str, tuple[str, ...]]:
    """A metric name to (task, polarities).

    'atsa' has the benchmark's four polarities; 'atsa:good,bad' names others, for a user's own labels.
    """
    task, _, polarities = metric.partition(':')
    if task not in TASKS:
        raise UserError(f"a metric must be 'acsa' or 'atsa'; got {metric!r}{nearest(task, TASKS)}")
    return task, tuple(polarities.split(',')) if polarities else POLARITIES


def count(
    task: str, predictions: Sequence[str], golds: Sequence[str], sentences: Sequence[str]
) -> Int[np.ndarray, 'N 6']:
    """The COUNTS of each sentence, int64: sums of any of its rows make a Score."""
    if not len(predictions) == len(golds) == len(sentences):
        raise UserError(
            f'expected as many predictions as golds and sentences; got {len(predictions)} '
            f'predictions, {len(golds)} golds, {len(sentences)} sentences'
        )
    task, polarities = parse_metric(task)
    rows = np.zeros((len(golds), len(COUNTS)), np.int64)
    for row, prediction, gold, sentence in zip(rows, predictions, golds, sentences):
        predicted, dropped = text_format.parse(task, prediction, sentence, polarities)
        wanted = text_format.parse(task, gold, sentence, polarities).pairs
        row[:] = count_pairs(predicted, wanted, len(dropped))
    return rows


def count_pairs(
    predicted: Sequence[text_format.Pair], wanted: Sequence[text_format.Pair], dropped: int
) -> tuple[int, ...]:
    """The COUNTS of one sentence."""
    return (
        len(predicted),
        sum(pair in wanted for pair in predicted),
        len(wanted),
        sum(pair in predicted for pair in wanted),
        (Counter(predicted) & Counter(wanted)).total(),
        dropped,
    )


def summarise(counts: Int[np.ndarray, 'N 6']) -> Score:
    """The Score of all sentences together."""
    total = counts.sum(axis=0)
    predicted, _, gold, _, _, dropped = total.tolist()
    precision, recall, f1, strict_precision, strict_recall, strict_f1 = ratios(total).tolist()
    return Score(
        precision=precision,
        recall=recall,
        f1=f1,
        strict_precision=strict_precision,
        strict_recall=strict_recall,
        strict_f1=strict_f1,
        sentences=len(counts),
        predicted=predicted,
        gold=gold,
        dropped=dropped,
    )


def ratios(
    totals: Int[np.ndarray, '*R 6'] | Float[np.ndarray, '*R 6'],
) -> Float[np.ndarray, '6 *R']:
    """Precision, recall, F1 and their strict twins, from sums of COUNTS."""
    predicted, right, gold, found, matched, dropped = np.moveaxis(np.asarray(totals, float), -1, 0)
    published = _f1(_ratio(right, predicted), _ratio(found, gold))
    strict = _f1(_ratio(matched, predicted + dropped), _ratio(matched, gold))
    return np.stack(published + strict)


def micro_f1(
    totals: Int[np.ndarray, '*R 6'] | Float[np.ndarray, '*R 6'],
) -> Float[np.ndarray, '*R']:
    """F1 as published, from sums of COUNTS."""
    return ratios(totals)[2]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 1.0)


def _f1(precision: np.ndarray, recall: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    total = precision + recall
    f1 = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1.0), 0.0)
    return precision, recall, f1

"""Accuracy and macro F1 of single labels, with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from rich import box
from rich.console import Console
from rich.table import Table

from fsa_jax.evaluate import score
from fsa_jax.evaluate.bootstrap import LEVEL


@dataclass(frozen=True)
class Classification:
    """Scores in [0, 1] with their 95 % intervals (None: not asked for), and what they are made of.

    `confusion` is {gold: {predicted: rows}}. Macro F1 is the plain mean over the labels that the gold
    has; a prediction outside them is wrong and has no F1 of its own.
    """

    rows: int
    accuracy: float
    macro_f1: float
    f1: dict[str, float]
    confusion: dict[str, dict[str, int]]
    accuracy_interval: tuple[float, float] | None = None
    macro_f1_interval: tuple[float, float] | None = None


def classify(
    golds: Sequence[str], predictions: Sequence[str], *, resamples: int, seed: int
) -> Classification:
    """Scores one label a row."""
    labels = sorted(set(golds))
    columns = [*labels, *sorted(set(predictions) - set(labels))]
    table = np.zeros((len(labels), len(columns)), np.int64)
    for gold, predicted in zip(golds, predictions):
        table[labels.index(gold), columns.index(predicted)] += 1
    accuracy, f1 = _scores(table)
    ends: list[tuple[float, float] | None] = [None, None]
    if resamples:
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(golds), (table / len(golds)).ravel(), size=resamples)
        accuracies, f1s = _scores(drawn.reshape(-1, *table.shape))
        tail = (1 - LEVEL) / 2
        for number, values in enumerate((accuracies, f1s.mean(axis=-1))):
            low, high = np.quantile(values, [tail, 1 - tail]).tolist()
            ends[number] = low, high
    return Classification(
        rows=len(golds),
        accuracy=float(accuracy),
        macro_f1=float(f1.mean()),
        f1=dict(zip(labels, f1.tolist())),
        confusion={g: dict(zip(columns, row)) for g, row in zip(labels, table.tolist())},
        accuracy_interval=ends[0],
        macro_f1_interval=ends[1],
    )


def _scores(
    table: Int[np.ndarray, '*R C P'],
) -> tuple[Float[np.ndarray, '*R'], Float[np.ndarray, '*R C']]:
    """Accuracy, and F1 of each gold label (0 where it is neither in gold nor predicted)."""
    size = table.shape[-2]
    right = np.diagonal(table[..., :size], axis1=-2, axis2=-1)
    both = table.sum(axis=-1) + table.sum(axis=-2)[..., :size]
    return right.sum(axis=-1) / table.sum(axis=(-2, -1)), 2 * right / np.maximum(both, 1)


def print_table(task: str, entry: dict[str, Any]) -> None:
    """The scores of each method on standard output, in percent."""
    table = Table(title=f'{task}, zero-shot', title_justify='left', box=box.SIMPLE_HEAD)
    for column in ('method', 'rows', 'accuracy', '95 %', 'macro F1', '95 %'):
        table.add_column(column, justify='left' if column == 'method' else 'right')
    for method, s in entry.items():
        table.add_row(
            method,
            f'{s["rows"]:,}',
            score.percent(s['accuracy']),
            score.interval(s['accuracy_interval']),
            score.percent(s['macro_f1']),
            score.interval(s['macro_f1_interval']),
        )
    Console().print(table)

"""Systems side by side on the same sentences: intervals of a mean over seeds, and paired tests."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from fsa_jax.errors import UserError
from fsa_jax.evaluate import bootstrap
from fsa_jax.evaluate.curves import group
from fsa_jax.evaluate.score import EXAMPLES, SUBSETS, Judged
from fsa_jax.evaluate.significance import Difference, compare
from fsa_jax.records import read_jsonl


@dataclass(frozen=True)
class System:
    """What the runs (seeds) of a system did on the sentences of a task."""

    name: str
    counts: Int[np.ndarray, 'seeds N 6']
    members: dict[str, Bool[np.ndarray, 'N']]  # of each subset
    sentences: tuple[str, ...]

    def interval(self, subset: str, resamples: int, seed: int = 0) -> tuple[float, float]:
        """The 95 % interval of the mean F1 over seeds on a subset, in [0, 1]."""
        return bootstrap.mean_interval(self.counts[:, self.members[subset]], resamples, seed)


@dataclass(frozen=True)
class Compared:
    """Two systems on a subset, or by a measure of all rows."""

    a: str
    b: str
    on: str
    difference: Difference


def systems(scores: Mapping[str, Path]) -> dict[str, dict[str, System]]:
    """{task: {system: …}} of folders of `fsa score`; names that differ after their last slash are
    the seeds of one system. Folders of an older version, which kept no counts, are left out."""
    judged: dict[str, dict[str, list[list[Judged]]]] = {}
    for name, folder in scores.items():
        path = folder / EXAMPLES
        by_task: dict[str, list[Judged]] = {}
        for row in read_jsonl(Judged, path) if path.is_file() else ():
            if row.counts:
                by_task.setdefault(row.task, []).append(row)
        for task, rows in by_task.items():
            judged.setdefault(task, {}).setdefault(group(name), []).append(rows)
    return {
        task: {name: _system(name, runs) for name, runs in found.items()}
        for task, found in judged.items()
    }


def _system(name: str, runs: Sequence[Sequence[Judged]]) -> System:
    first = runs[0]
    sentences = tuple(row.sentence for row in first)
    for rows in runs:
        _check_same(name, sentences, tuple(row.sentence for row in rows))
    there = {subset for row in first for subset in row.subsets}
    names = ['normal', *(s for s in SUBSETS if s in there), *sorted(there - set(SUBSETS))]
    members = {
        subset: np.array([subset == 'normal' or subset in row.subsets for row in first])
        for subset in dict.fromkeys(names)
    }
    counts = np.array([[row.counts for row in rows] for rows in runs])
    return System(name, counts, members, sentences)


def _check_same(name: str, ours: Sequence[str], theirs: Sequence[str]) -> None:
    if ours != theirs:
        raise UserError(f'{name}: systems that are compared must have answered the same sentences')


def comparisons(found: Mapping[str, System], resamples: int, seed: int = 0) -> list[Compared]:
    """Every two systems of a task, on every subset."""
    result = []
    for a, b in itertools.combinations(found.values(), 2):
        _check_same(f'{a.name} and {b.name}', a.sentences, b.sentences)
        for subset, member in a.members.items():
            ours, theirs = a.counts[:, member], b.counts[:, member]
            found_here = compare(ours, theirs, resamples, seed)
            result.append(Compared(a.name, b.name, subset, found_here))
    return result

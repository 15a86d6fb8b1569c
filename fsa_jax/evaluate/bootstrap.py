"""Bootstrap intervals of scores over sentences (Efron and Tibshirani 1993, the percentile method)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from fsa_jax.evaluate import f1

LEVEL = 0.95


def intervals(
    counts: Int[np.ndarray, 'N 6'], resamples: int, seed: int
) -> Float[np.ndarray, '6 2']:
    """Lower and upper end of each of `f1.ratios`, from the counts of each sentence (`f1.count`).

    Sentences with the same counts are interchangeable, so a resample draws how often each distinct
    row comes up: one multinomial over some hundred rows, however many sentences there are.
    """
    rows, frequency = np.unique(counts, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(counts), frequency / len(counts), size=resamples)
    tail = (1 - LEVEL) / 2
    return np.quantile(f1.ratios(drawn @ rows), [tail, 1 - tail], axis=-1).T


def mean_interval(
    counts: Int[np.ndarray, 'seeds N K'],
    resamples: int,
    seed: int,
    measure: Callable[[np.ndarray], np.ndarray] = f1.micro_f1,
) -> tuple[float, float]:
    """Lower and upper end of the mean score over seeds: each resample draws the same sentences for all.

    It says how much the mean would move with other test sentences; how much it moves with other
    seeds is their standard deviation. `measure` makes scores [R] of sums of counts [R K].
    """
    sentences = counts.shape[1]
    rows, frequency = np.unique(np.moveaxis(counts, 1, 0), axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(sentences, frequency / sentences, size=resamples)
    scores = measure(np.einsum('rn,nsc->rsc', drawn, rows, optimize=True))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(scores.mean(axis=-1), [tail, 1 - tail]).tolist()
    return low, high

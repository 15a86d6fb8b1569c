"""Is one system better than another? Paired tests over the sentences that both have answered.

Two answers, both by scipy.stats, to two questions about the F1 (or
another score) of a minus that of b:

    interval   paired bootstrap: the same sentences are drawn for both (Efron and Tibshirani 1993;
               Koehn 2004), the percentile interval of the difference
    p_value    approximate randomisation: the answers of a sentence change sides or do not, with even
               chances; two-sided (Noreen 1989; Yeh 2000). This is the test of significance

A system of several seeds enters with the mean of its counts of each sentence, so that systems of
different numbers of seeds can be compared; all its seeds change sides together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from fsa_jax.errors import UserError
from fsa_jax.evaluate import f1
from fsa_jax.evaluate.bootstrap import LEVEL

TEST = 'paired bootstrap (interval) and approximate randomisation (p) over sentences, two-sided'
_BATCH = 500  # resamples at once, at most
_BATCH_NUMBERS = 2**23  # counts at once, about


@dataclass(frozen=True)
class Difference:
    """Scores of two systems on the same sentences in [0, 1], `difference` is a's minus b's.

    `interval` holds 95 % of the bootstrap differences; `p_value` is that of a difference at least as
    large, to either side, were the two systems alike.
    """

    score_a: float
    score_b: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    sentences: int


def mean_counts(
    counts: Int[np.ndarray, 'N K'] | Int[np.ndarray, 'seeds N K'],
) -> Float[np.ndarray, 'N K']:
    """The counts of each sentence, the mean over seeds where there are several."""
    counts = np.asarray(counts, float)
    return counts if counts.ndim == 2 else counts.mean(axis=0)


def compare(
    a: Int[np.ndarray, 'N K'] | Int[np.ndarray, 'seeds N K'],
    b: Int[np.ndarray, 'N K'] | Int[np.ndarray, 'seeds N K'],
    resamples: int = 4999,
    seed: int = 0,
    measure: Callable[[np.ndarray], np.ndarray] = f1.micro_f1,
) -> Difference:
    """Compares two systems by the counts of each sentence; pure in (counts, seed).

    `measure` makes scores [R] of sums of counts [R K]; by default the counts are those of `f1.count`.
    Raises UserError where the two have not answered equally many sentences.
    """
    a, b = mean_counts(a), mean_counts(b)
    if len(a) != len(b):
        raise UserError(
            f'a paired test needs the same sentences on both sides; got {len(a)} and {len(b)}'
        )
    table = np.concatenate([a, b])

    def difference(ours, theirs, axis=-1):  # numbers of rows of `table`
        totals = (table[numbers].sum(axis=axis % ours.ndim) for numbers in (ours, theirs))
        return np.subtract(*map(measure, totals))

    numbers = np.arange(len(a)), np.arange(len(a)) + len(a)
    score_a, score_b = (float(measure(x.sum(axis=0))) for x in (a, b))
    observed = score_a - score_b
    if len(a) == 1 or np.array_equal(a, b):  # nothing to draw, and scipy refuses or gives nan
        return Difference(score_a, score_b, observed, (observed, observed), 1.0, len(a))
    batch = max(1, min(_BATCH, _BATCH_NUMBERS // table.size))
    interval = stats.bootstrap(
        numbers,
        difference,
        paired=True,
        method='percentile',
        confidence_level=LEVEL,
        n_resamples=resamples,
        batch=batch,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    randomised = stats.permutation_test(
        numbers,
        difference,
        permutation_type='samples',
        n_resamples=resamples,
        batch=batch,
        rng=np.random.default_rng(seed),
    )
    return Difference(
        score_a,
        score_b,
        observed,
        (float(interval.low), float(interval.high)),
        float(randomised.pvalue),
        len(a),
    )

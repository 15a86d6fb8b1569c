"""The trivial baseline: the most frequent pair of the training data, predicted for every sentence."""

from collections import Counter
from collections.abc import Iterable

from fsa_jax import text_format
from fsa_jax.errors import UserError
from fsa_jax.evaluate import f1


def most_frequent_pair(metric: str, train_golds: Iterable[str]) -> str:
    """The target string of the commonest (term or category, polarity); the first seen wins a tie.

    For ATSA the scorer drops it where a sentence does not hold the term, so it costs no precision
    there. Raises UserError where no training sentence has a pair.
    """
    _, polarities = f1.parse_metric(metric)
    pairs = Counter(
        pair
        for gold in train_golds
        for pair in text_format.parse('acsa', gold, polarities=polarities).pairs
    )
    if not pairs:
        raise UserError(
            'no training sentence has a labelled pair, so there is no trivial baseline '
            '(ScoreConfig.baseline_data)'
        )
    return text_format.join([pairs.most_common(1)[0][0]])

"""Lists of ids as rows of arrays, in few shapes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

_SHORTEST = 32  # columns of the input ids: a batch has this times a power of two


def longest_first(inputs: Sequence[Sequence[int]]) -> Int[np.ndarray, 'n']:
    """The order of the inputs in batches: those of like lengths together."""
    return np.argsort([-len(ids) for ids in inputs], kind='stable')


def padded(
    inputs: Sequence[Sequence[int]], rows: int, columns: int, pad_id: int = 0
) -> Int[np.ndarray, 'rows columns']:
    """Ids of at most `rows` inputs, padded."""
    tokens = np.full((rows, columns), pad_id, np.int32)
    for row, ids in zip(tokens, inputs):
        row[: len(ids)] = ids
    return tokens


def power_of_two(n: int, least: int = _SHORTEST) -> int:
    """The smallest of least, 2 least, 4 least, ... that is at least n."""
    while least < n:
        least *= 2
    return least

"""Which pairs share a row: bin packing in two dimensions, encoder and decoder slots.

All lengths are known before a batch is made, so rows are planned globally. Pairs of equal lengths
are interchangeable: as in histogram packing (Krell et al. 2021, https://arxiv.org/abs/2107.02027)
the packer counts pairs by their two lengths, builds a row once and repeats it as often as the
counts allow. A row is built by the norm-based greedy of vector bin packing (Panigrahy et al. 2011,
"Heuristics for Vector Bin Packing"): it starts with the longest pair left, then takes the pair that
leaves least room on the side that has more of it, until none fits.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Int

_MOST_KINDS = 1 << 16  # the time to plan grows with the kinds; 128 x 400 ids have 51,200


def pack(
    lengths: Int[np.ndarray, 'n 2'], capacity: tuple[int, int]
) -> tuple[Int[np.ndarray, 'n'], Int[np.ndarray, 'rows+1']]:
    """Packs pairs into rows of `capacity` = (encoder slots, decoder slots).

    Returns `(order, starts)`: row r holds the pairs `order[starts[r]:starts[r + 1]]`, each pair is
    in one row. Among pairs of equal lengths, earlier ones go to earlier slots: shuffling the input
    changes who shares a row, not how full the rows are. No length may exceed the capacity.
    """
    kinds, kind_of_pair, counts = _kinds(lengths, capacity)
    kind_of_slot, starts = _remembered(kinds.tobytes(), counts.tobytes(), tuple(capacity))
    order = np.empty(len(lengths), np.int32)
    order[np.argsort(kind_of_slot, kind='stable')] = np.argsort(kind_of_pair, kind='stable')
    return order, starts


def _kinds(lengths: np.ndarray, capacity: tuple[int, int]):
    """(distinct lengths [k, 2], kind of each pair [n], counts [k]), rounded up if they are too many."""
    unit = 1
    while True:
        sizes = np.minimum(-(-lengths.astype(np.int64) // unit) * unit, capacity)
        key = sizes[:, 0] * (capacity[1] + 1) + sizes[:, 1]
        keys, kind_of_pair, counts = np.unique(key, return_inverse=True, return_counts=True)
        if len(keys) <= _MOST_KINDS:
            kinds = np.stack(np.divmod(keys, capacity[1] + 1), axis=1)
            return kinds, kind_of_pair, counts
        unit *= 2


@lru_cache(maxsize=2)
def _remembered(kinds: bytes, counts: bytes, capacity: tuple[int, int]):
    """`compose`, once for the epochs of a run: they hold the same lengths in another order."""
    table = np.frombuffer(kinds, np.int64).reshape(-1, 2)
    return compose(table, np.frombuffer(counts, np.int64), capacity)


def compose(
    kinds: Int[np.ndarray, 'k 2'], counts: Int[np.ndarray, 'k'], capacity: tuple[int, int]
) -> tuple[Int[np.ndarray, 'n'], Int[np.ndarray, 'rows+1']]:
    """Rows out of `counts[k]` pairs of lengths `kinds[k]`: (kind of each slot, row starts).

    Integers only, so the rows are the same on every machine.
    """
    full = int(capacity[0]) * int(capacity[1])  # a full side, when both are scaled to E x D
    encoder, decoder = (kinds.astype(np.int64) * capacity[::-1]).T
    order = np.argsort(-np.maximum(encoder, decoder), kind='stable')
    encoder, decoder = encoder[order], decoder[order]
    left = np.asarray(counts, np.int64)[order]
    live, longest = np.arange(len(order)), 0
    rows, row_lengths = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)]
    while True:
        while longest < len(left) and not left[longest]:
            longest += 1
        if longest == len(left):
            break
        if np.count_nonzero(left[live]) < 0.8 * len(live):
            live = live[left[live] > 0]
        row = _row(longest, live, encoder, decoder, left, full)
        used, times = np.unique(row, return_counts=True)
        repeats = int((left[used] // times).min())
        left[used] -= times * repeats
        rows.append(np.tile(order[row], repeats))
        row_lengths.append(np.full(repeats, len(row)))
    return np.concatenate(rows).astype(np.int32), np.cumsum(np.concatenate(row_lengths))


def _row(first: int, live, encoder, decoder, left, full: int) -> list[int]:
    """One row: `first`, then the best complement among the kinds `live`, until none fits."""
    row, candidates, amount = [first], live, left[live].copy()
    amount[np.searchsorted(live, first)] -= 1
    room_encoder, room_decoder = full - encoder[first], full - decoder[first]
    while True:
        leaves_encoder = room_encoder - encoder[candidates]
        leaves_decoder = room_decoder - decoder[candidates]
        fits = (leaves_encoder >= 0) & (leaves_decoder >= 0) & (amount > 0)
        if not fits.any():
            return row
        candidates, amount = candidates[fits], amount[fits]
        leaves = np.maximum(leaves_encoder[fits], leaves_decoder[fits])
        best = int(leaves.argmin())
        row.append(int(candidates[best]))
        room_encoder -= encoder[candidates[best]]
        room_decoder -= decoder[candidates[best]]
        amount[best] -= 1

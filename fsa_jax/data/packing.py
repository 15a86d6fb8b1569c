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
    integer = np.int32 if full < 1 << 31 else np.int64
    encoder, decoder = (kinds * capacity[::-1]).T.astype(integer)
    order = np.argsort(-np.maximum(encoder, decoder), kind='stable')
    # one column a kind: number, scaled lengths, pairs left
    table = np.stack([order, encoder[order], decoder[order], counts[order]]).astype(integer)
    rows, row_lengths = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
    while (left := np.count_nonzero(table[3])) > 0:
        if left < 0.8 * table.shape[1]:
            table = table[:, table[3] > 0]
        row = _row(table, full)
        used, times = np.unique(row, return_counts=True)
        repeats = int((table[3, used] // times).min())
        table[3, used] -= (times * repeats).astype(integer)
        rows.append(np.tile(table[0, row].astype(np.int32), repeats))
        row_lengths.append(np.full(repeats, len(row)))
    return np.concatenate(rows), np.cumsum(np.concatenate(row_lengths))


def _row(table: np.ndarray, full: int) -> list[int]:
    """One row, as columns of `table`: the longest, then the best complement, until none fits."""
    _, encoder, decoder, left = table
    best, row = int(np.argmax(left > 0)), []
    room_encoder = room_decoder = full
    columns, left = np.arange(len(left)), left.copy()
    while True:
        row.append(int(columns[best]))
        left[best] -= 1
        room_encoder, room_decoder = room_encoder - encoder[best], room_decoder - decoder[best]
        fits = (encoder <= room_encoder) & (decoder <= room_decoder) & (left > 0)
        if not fits.any():
            return row
        columns, encoder, decoder, left = (x[fits] for x in (columns, encoder, decoder, left))
        best = int(np.maximum(room_encoder - encoder, room_decoder - decoder).argmin())

"""Inputs that packed splits share: leakage is reported, never dropped.

An input is told by a 64-bit hash of its ids as they are stored. A corpus, which has no metric, has whole
reviews for inputs: a held-out input is looked for inside them too, unless it is so short that it is
common speech. The training splits stream past all others, so memory does not grow with what is
trained on.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt64

from fsa_jax.data.store import TokenStore

HEAD = 8  # ids, a power of two; an input of fewer is common speech
Shared = dict[str, dict[str, int]]
_TRAIN = 'train'
_BLOCK = 4096  # pairs hashed at once
_FACTOR = 0x9E3779B97F4A7C15
_ROUGH = 20  # bits of a hash that are looked at first


@dataclass(frozen=True)
class Held:
    """Distinct inputs that nothing should be trained on: sorted hashes, and ids without `</s>`."""

    keys: UInt64[np.ndarray, 'n']
    inputs: list[Int[np.ndarray, 'ids']]


def shared_inputs(
    stores: Iterable[TokenStore], texts: Mapping[str, Sequence[Sequence[int]]] | None = None
) -> Shared:
    """{'task/split': {other 'task/split': distinct inputs in both}} of every split but 'train'.

    `texts` names further inputs to look for, as ids with `</s>`. Splits that share nothing are left
    out, and those that by their name are a part of another ('test_implicit' of 'test').
    """
    by_name = {f'{store.task}/{store.header.split}': store for store in stores}
    whole = {n: store for n, store in by_name.items() if n.rpartition('_')[0] not in by_name}
    held = {name: _held_store(s) for name, s in whole.items() if s.header.split != _TRAIN}
    for name, inputs in (texts or {}).items():
        held[name] = _held_ids(inputs, next(iter(whole.values())).tokens.dtype)
    if not held:
        return {}
    inside = Inside(held)
    shared: Shared = {name: {} for name in held}
    for other, store in whole.items():
        found = {n: np.zeros(len(h.keys), bool) for n, h in held.items() if n != other}
        for first, hashes in enumerate(_hashes(store)):
            for name, seen in found.items():
                seen |= np.isin(held[name].keys, hashes)
            if not store.metric:
                for name, number in inside.find(*store.block(first * _BLOCK, (first + 1) * _BLOCK)):
                    if name in found:
                        found[name][number] = True
        for name, seen in found.items():
            if seen.any():
                shared[name][other] = int(seen.sum())
    return {name: others for name, others in shared.items() if others}


def _held_store(store: TokenStore) -> Held:
    hashes = np.concatenate([np.zeros(0, np.uint64), *_hashes(store)])
    return _held(hashes, lambda i: store.pair(i)[0])


def _held_ids(inputs: Sequence[Sequence[int]], dtype: np.dtype) -> Held:
    arrays = [np.array(ids, dtype) for ids in inputs]
    return _held(_digests(ids.tobytes() for ids in arrays), arrays.__getitem__)


def _held(hashes: UInt64[np.ndarray, 'n'], input_at: Callable[[int], np.ndarray]) -> Held:
    """The distinct of inputs that have these hashes."""
    keys, first = np.unique(hashes, return_index=True)
    return Held(keys, [input_at(i)[:-1] for i in first.tolist()])


class Inside:
    """Held-out inputs by the hash of their first HEAD ids, to be found inside longer inputs."""

    def __init__(self, held: Mapping[str, Held]):
        self._by_head: dict[int, list[tuple[str, int, np.ndarray]]] = {}
        for name, inputs in held.items():
            for number, ids in enumerate(inputs.inputs):
                for head in _heads(ids[:HEAD]).tolist():  # none of fewer ids
                    self._by_head.setdefault(head, []).append((name, number, ids))
        self._rough = np.zeros(2**_ROUGH, bool)
        self._rough[[head >> (64 - _ROUGH) for head in self._by_head]] = True

    def find(
        self, tokens: Int[np.ndarray, 'ids'], lengths: Int[np.ndarray, 'n 2']
    ) -> Iterator[tuple[str, int]]:
        """(name, number) of each held input that lies in an input of a block (`TokenStore.block`)."""
        starts = np.cumsum(lengths.sum(axis=1)) - lengths.sum(axis=1)
        heads = _heads(tokens)
        for at in np.flatnonzero(self._rough[heads >> np.uint64(64 - _ROUGH)]).tolist():
            for name, number, ids in self._by_head.get(int(heads[at]), ()):
                pair = np.searchsorted(starts, at, 'right') - 1
                end = at + len(ids)
                if end <= starts[pair] + lengths[pair, 0] and np.array_equal(tokens[at:end], ids):
                    yield name, number


def _heads(ids: Int[np.ndarray, 'ids']) -> UInt64[np.ndarray, 'places']:
    """A polynomial hash, mod 2**64, of the HEAD ids from each place on."""
    if len(ids) < HEAD:
        return np.zeros(0, np.uint64)
    total, size, factor = ids.astype(np.uint64), 1, _FACTOR
    while size < HEAD:  # of `size` ids, and from there of twice as many
        total = total[:-size] * factor + total[size:]
        size, factor = 2 * size, factor * factor % 2**64
    return total


def _hashes(store: TokenStore) -> Iterator[UInt64[np.ndarray, 'n']]:
    """A hash of each input of a store, block by block."""
    for first in range(0, len(store), _BLOCK):
        tokens, lengths = store.block(first, first + _BLOCK)
        ends = np.cumsum(lengths.sum(axis=1))
        data, size = tokens.tobytes(), tokens.itemsize
        starts = (ends - lengths.sum(axis=1)) * size
        inputs = (data[a : a + n * size] for a, n in zip(starts.tolist(), lengths[:, 0].tolist()))
        yield _digests(inputs)


def _digests(inputs: Iterable[bytes]) -> UInt64[np.ndarray, 'n']:
    joined = b''.join(hashlib.blake2b(ids, digest_size=8).digest() for ids in inputs)
    return np.frombuffer(joined, '<u8')


def leaks(name: str, others: dict[str, int]) -> str:
    """What the user is told of a split that shares inputs with other kinds of splits; '' for none.

    Two tasks may well share their test inputs: that is in the manifest alone.
    """
    split = name.rpartition('/')[2]
    found = [f'{n:,} in {other}' for other, n in others.items() if not other.endswith(f'/{split}')]
    return f'{name}: inputs that other splits hold too: {", ".join(found)}' if found else ''

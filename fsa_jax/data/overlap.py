"""Inputs that packed splits share: leakage is reported, never dropped.

An input is told by a 64-bit hash of its ids as they are stored. Hashes of the training splits stream
past those of all others, so memory does not grow with what is trained on.
"""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import UInt64

from fsa_jax.data.store import TokenStore

Shared = dict[str, dict[str, int]]
_TRAIN = 'train'
_BLOCK = 4096  # pairs hashed at once


def shared_inputs(stores: Iterable[TokenStore]) -> Shared:
    """{'task/split': {other 'task/split': distinct inputs in both}} of every split but 'train'.

    Splits that share nothing are left out, and those that by their name are a part of another
    ('test_implicit' of 'test').
    """
    by_name = {f'{store.task}/{store.header.split}': store for store in stores}
    whole = {n: store for n, store in by_name.items() if n.rpartition('_')[0] not in by_name}
    held = {
        name: np.unique(np.concatenate([np.zeros(0, np.uint64), *_hashes(store)]))
        for name, store in whole.items()
        if store.header.split != _TRAIN
    }
    shared: Shared = {name: {} for name in held}
    for other, store in whole.items():
        found = {name: np.zeros(len(keys), bool) for name, keys in held.items() if name != other}
        for hashes in _hashes(store):
            for name, seen in found.items():
                seen |= np.isin(held[name], hashes)
        for name, seen in found.items():
            if seen.any():
                shared[name][other] = int(seen.sum())
    return {name: others for name, others in shared.items() if others}


def _hashes(store: TokenStore) -> Iterator[UInt64[np.ndarray, 'n']]:
    """A hash of each input of a store, block by block."""
    for first in range(0, len(store), _BLOCK):
        tokens, lengths = store.block(first, first + _BLOCK)
        ends = np.cumsum(lengths.sum(axis=1))
        data, size = tokens.tobytes(), tokens.itemsize
        starts = (ends - lengths.sum(axis=1)) * size
        inputs = (data[a : a + n * size] for a, n in zip(starts.tolist(), lengths[:, 0].tolist()))
        digests = b''.join(hashlib.blake2b(ids, digest_size=8).digest() for ids in inputs)
        yield np.frombuffer(digests, '<u8')


def leaks(name: str, others: dict[str, int]) -> str:
    """What the user is told of a split that shares inputs with other kinds of splits; '' for none.

    Two tasks may well share their test inputs: that is in the manifest alone.
    """
    split = name.rpartition('/')[2]
    found = [f'{n:,} in {other}' for other, n in others.items() if not other.endswith(f'/{split}')]
    return f'{name}: inputs that other splits hold too: {", ".join(found)}' if found else ''

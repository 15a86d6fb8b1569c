"""Writes token stores: streaming, one batch in memory, whole or without a header."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fsa_jax import manifest
from fsa_jax.data.store import (
    EXAMPLES,
    HEADER,
    IDS,
    LENGTHS,
    OFFSETS,
    TOKENS,
    Header,
    TokenBatch,
    TokenStore,
    ragged_index,
)
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.records import to_json

_BLOCK = 4096  # pairs of each shard that are joined at once


class _Appender:
    """Appends to the files of a store; `store.json` comes last, so without it a store is unfinished."""

    def __init__(self, folder: Path, header: Header):
        self.header, self._folder = header, folder
        self._dtype = np.dtype(header.dtype).newbyteorder('<')
        self._stack = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        folder.mkdir(parents=True)

    def __enter__(self):
        for name in (TOKENS, OFFSETS, LENGTHS, IDS):
            self._open(name)
        self._files[OFFSETS].write(np.int64(0).tobytes())
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._stack.close()
        if kind is None:
            content = json.dumps(dataclasses.asdict(self.header), indent=1) + '\n'
            manifest.write_atomic(self._folder / HEADER, content)

    def _open(self, name: str) -> None:
        self._files[name] = self._stack.enter_context((self._folder / name).open('wb'))

    def append(self, tokens: np.ndarray, lengths: np.ndarray, ids: Iterable[str]) -> None:
        """Adds pairs: ids of input 0, target 0, input 1, ... and their lengths [n, 2]."""
        offsets = self.header.tokens + np.cumsum(lengths.sum(axis=1), dtype='<i8')
        self._files[TOKENS].write(tokens.astype(self._dtype).tobytes())
        self._files[OFFSETS].write(offsets.tobytes())
        self._files[LENGTHS].write(lengths.astype('<i4').tobytes())
        self._files[IDS].writelines(f'{id}\n'.encode('utf-8', 'replace') for id in ids)
        self.header.add(lengths)

    def append_examples(self, lines: Iterable[str]) -> None:
        """Adds the examples of the pairs, a line of JSON each."""
        if not self.header.examples:
            self.header.examples = True
            self._open(EXAMPLES)
        self._files[EXAMPLES].writelines(f'{line}\n'.encode('utf-8', 'replace') for line in lines)


class StoreWriter(_Appender):
    """Writes the store of one task split, batch by batch; a context manager, whole after it closed.

    Inputs longer than `limits[0]` and targets longer than `limits[1]` ids are cut and counted; a
    final `</s>` stays at the cut. 0 is no limit.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        *,
        task: str,
        split: str,
        metric: str = '',
        rate: float = 1.0,
        limits: tuple[int, int] = (0, 0),
        frozen_passes: int = 0,
    ):
        dtype = 'uint16' if vocabulary.size <= 1 << 16 else 'int32'
        header = Header(task, split, vocabulary.sha256, dtype, vocabulary.eos_id, metric, rate)
        header.frozen_passes = frozen_passes
        super().__init__(folder, header)
        self._limits, self._vocabulary_size = limits, vocabulary.size

    def write(self, batch: TokenBatch) -> int:
        """Appends the pairs of a batch; returns how many."""
        eos_id, (most_inputs, most_targets) = self.header.eos_id, self._limits
        inputs = _cut(batch.input_tokens, batch.input_row_splits, most_inputs, eos_id)
        targets = _cut(batch.target_tokens, batch.target_row_splits, most_targets, eos_id)
        lengths = np.stack([inputs[1], targets[1]], axis=1)
        ids = (' '.join(id.splitlines()) for id in batch.ids)
        tokens = _in_turn(inputs[0], targets[0], lengths)
        self._check(tokens)
        self.append(tokens, lengths, ids)
        self.header.cut = self.header.cut[0] + inputs[2], self.header.cut[1] + targets[2]
        if batch.examples is not None:
            self.append_examples(map(to_json, batch.examples))
        return len(lengths)

    def _check(self, tokens: np.ndarray) -> None:
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self._vocabulary_size):
            raise UserError(
                f'{self.header.task}: token ids {tokens.min()} to {tokens.max()} are not of the '
                f'vocabulary (VocabularyConfig.path); expected ids from 0 to {self._vocabulary_size - 1}'
            )


def _cut(tokens: np.ndarray, row_splits: np.ndarray, limit: int, eos_id: int):
    """Ragged rows cut to `limit` ids: (flat tokens, lengths int [n], how many rows were cut)."""
    starts, lengths = row_splits[:-1], np.diff(row_splits)
    if not limit or not (too_long := lengths > limit).any():
        return tokens, lengths, 0
    kept = np.minimum(lengths, limit)
    ended = too_long & (tokens[np.maximum(row_splits[1:] - 1, 0)] == eos_id)
    cut = tokens[ragged_index(starts, kept)]
    cut[np.cumsum(kept)[ended] - 1] = eos_id
    return cut, kept, int(too_long.sum())


def _in_turn(inputs: np.ndarray, targets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """input 0, target 0, input 1, target 1, ... of flat inputs and targets; `lengths` is [n, 2]."""
    is_target = np.repeat(np.tile([False, True], len(lengths)), lengths.reshape(-1))
    tokens = np.empty(len(is_target), np.int32)
    tokens[is_target], tokens[~is_target] = targets, inputs
    return tokens


def interleave(shards: Sequence[Path], folder: Path) -> None:
    """The store whose pair i is pair i // n of shard i % n, as reading a source in n shards deals them."""
    stores = [TokenStore.open(shard) for shard in shards]
    header = dataclasses.replace(
        stores[0].header,
        pairs=0,
        tokens=0,
        cut=tuple(np.sum([store.header.cut for store in stores], axis=0).tolist()),
        examples=False,
    )
    ids = _alternate([store.ids() for store in stores])
    examples = _alternate([store.example_lines() for store in stores if store.header.examples])
    with _Appender(folder, header) as writer:
        for first in range(0, max(len(store) for store in stores), _BLOCK):
            blocks = [store.block(first, first + _BLOCK) for store in stores]
            lengths = np.concatenate([block[1] for block in blocks])
            tokens = np.concatenate([block[0] for block in blocks])
            # pairs in the order of their place in the shard, then of the shard
            place = np.concatenate([np.arange(len(block[1])) for block in blocks])
            order = np.argsort(place, kind='stable')
            sizes = lengths.sum(axis=1)
            starts = np.cumsum(sizes) - sizes
            tokens = tokens[ragged_index(starts[order], sizes[order])]
            writer.append(tokens, lengths[order], itertools.islice(ids, len(order)))
            lines = list(itertools.islice(examples, len(order)))
            if lines:
                writer.append_examples(lines)


def _alternate(iterators: Sequence[Iterator[str]]) -> Iterator[str]:
    """One of each in turn; those that ended are left out."""
    for items in itertools.zip_longest(*iterators):
        yield from (item for item in items if item is not None)

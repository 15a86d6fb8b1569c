"""The token store: the pairs of one task split, tokenised once, memory-mapped.

    packed/                       what `fsa pack` leaves, with its manifest
      vocabulary/                 the vocabulary the ids belong to
      <task>/<split>/
        store.json                counts, dtype, metric, rate, hash of the vocabulary
        tokens.bin                uint16 or int32: input 0, target 0, input 1, target 1, ...
        offsets.bin               int64 [n + 1]: where pair i begins in tokens.bin
        lengths.bin               int32 [n, 2]: ids of its input and of its target, </s> included
        ids.txt                   one id a line
        examples.jsonl            sentence, gold text and subsets, where the task has a metric

All numbers are little-endian. A writer streams: it holds one batch, however large the corpus.
"""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np

from fsa_jax import manifest
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError, nearest
from fsa_jax.records import Example, read_jsonl, to_json

HEADER = 'store.json'
_TOKENS, _OFFSETS, _LENGTHS = 'tokens.bin', 'offsets.bin', 'lengths.bin'
_IDS, _EXAMPLES = 'ids.txt', 'examples.jsonl'


@dataclasses.dataclass(frozen=True)
class TokenBatch:
    """Tokenised pairs as a source yields them: ragged rows, flat, `</s>` included, not yet cut.

    Row i of the inputs is `input_tokens[input_row_splits[i]:input_row_splits[i + 1]]`, so the row
    splits have one entry more than there are pairs; the same for the targets.
    """

    ids: Sequence[str]
    input_tokens: np.ndarray
    input_row_splits: np.ndarray
    target_tokens: np.ndarray
    target_row_splits: np.ndarray
    examples: Sequence[Example] | None = None

    @classmethod
    def from_pairs(cls, pairs, ids=None, examples=None) -> 'TokenBatch':
        """A batch of `(input_ids, target_ids)` sequences."""
        inputs, targets = [p[0] for p in pairs], [p[1] for p in pairs]

        def flat(rows):
            return np.fromiter(itertools.chain.from_iterable(rows), np.int32)

        def splits(rows):
            return np.cumsum([0, *map(len, rows)])

        ids = ids or [str(i) for i in range(len(pairs))]
        return cls(ids, flat(inputs), splits(inputs), flat(targets), splits(targets), examples)


@dataclasses.dataclass
class Header:
    """`store.json`. `cut` counts inputs and targets that were longer than the limits."""

    task: str
    split: str
    vocabulary: str  # sha256
    dtype: str
    eos_id: int
    metric: str = ''
    rate: float = 1.0
    pairs: int = 0
    tokens: int = 0
    longest: tuple[int, int] = (0, 0)
    cut: tuple[int, int] = (0, 0)

    def add(self, lengths: np.ndarray, cut: Sequence[int]) -> None:
        """Counts further pairs: their lengths, int32 [n, 2], and how many were cut on each side."""
        self.pairs += len(lengths)
        self.tokens += int(lengths.sum())
        longest = lengths.max(axis=0, initial=0).tolist()
        self.longest = max(self.longest[0], longest[0]), max(self.longest[1], longest[1])
        self.cut = self.cut[0] + int(cut[0]), self.cut[1] + int(cut[1])


class StoreWriter:
    """Appends batches to the store of one task split; a context manager, whole after it closed.

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
    ):
        dtype = 'uint16' if vocabulary.size <= 1 << 16 else 'int32'
        self.header = Header(task, split, vocabulary.sha256, dtype, vocabulary.eos_id, metric, rate)
        self._folder, self._limits = folder, limits
        folder.mkdir(parents=True)

    def __enter__(self) -> 'StoreWriter':
        self._stack = ExitStack()
        names = (_TOKENS, _OFFSETS, _LENGTHS, _IDS, *((_EXAMPLES,) if self.header.metric else ()))
        self._files = {
            name: self._stack.enter_context((self._folder / name).open('wb')) for name in names
        }
        self._files[_OFFSETS].write(np.int64(0).tobytes())
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._stack.close()
        if kind is None:
            _write_header(self._folder, self.header)

    def write(self, batch: TokenBatch) -> int:
        """Appends the pairs of a batch; returns how many."""
        sides = (
            _cut(batch.input_tokens, batch.input_row_splits, self._limits[0], self.header.eos_id),
            _cut(batch.target_tokens, batch.target_row_splits, self._limits[1], self.header.eos_id),
        )
        lengths = np.stack([side[1] for side in sides], axis=1).astype('<i4')
        offsets = self.header.tokens + np.cumsum(lengths.sum(axis=1), dtype='<i8')
        tokens = _interleave(sides[0][0], sides[1][0], lengths)
        self._files[_TOKENS].write(self._checked(tokens).tobytes())
        self._files[_OFFSETS].write(offsets.tobytes())
        self._files[_LENGTHS].write(lengths.tobytes())
        self._write_lines(_IDS, (' '.join(id.splitlines()) for id in batch.ids))
        if self.header.metric:
            self._write_lines(_EXAMPLES, map(to_json, batch.examples or ()))
        self.header.add(lengths, [side[2] for side in sides])
        return len(lengths)

    def _write_lines(self, name: str, lines: Iterable[str]) -> None:
        self._files[name].writelines(f'{line}\n'.encode() for line in lines)

    def _checked(self, tokens: np.ndarray) -> np.ndarray:
        dtype = np.dtype(self.header.dtype).newbyteorder('<')
        if tokens.size and (tokens.min() < 0 or tokens.max() > np.iinfo(dtype).max):
            raise UserError(
                f'{self.header.task}: token ids {tokens.min()} to {tokens.max()} do not fit the '
                f'vocabulary (VocabularyConfig.path); expected ids up to {np.iinfo(dtype).max}'
            )
        return tokens.astype(dtype)


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


def _interleave(inputs: np.ndarray, targets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """input 0, target 0, input 1, target 1, ... of flat inputs and targets; `lengths` is [n, 2]."""
    is_target = np.repeat(np.tile([False, True], len(lengths)), lengths.reshape(-1))
    tokens = np.empty(len(is_target), np.int32)
    tokens[is_target], tokens[~is_target] = targets, inputs
    return tokens


def ragged_index(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`concatenate([arange(s, s + n) for s, n in zip(starts, lengths)])`, int64."""
    ends = np.cumsum(lengths, dtype=np.int64)
    shift = np.asarray(starts, np.int64) - (ends - lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(shift, lengths)


def _write_header(folder: Path, header: Header) -> None:
    manifest.write_atomic(folder / HEADER, json.dumps(dataclasses.asdict(header), indent=1) + '\n')


def merge(shards: Sequence[Path], folder: Path) -> Header:
    """Joins stores, in order, into the store `folder`, and removes them."""
    if len(shards) == 1:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shards[0].rename(folder)
        return _read_header(folder)
    folder.mkdir(parents=True)
    header = dataclasses.replace(_read_header(shards[0]), pairs=0, tokens=0, cut=(0, 0))
    (folder / _OFFSETS).write_bytes(np.int64(0).tobytes())
    for shard in shards:
        store = TokenStore.open(shard)
        with open(folder / _OFFSETS, 'ab') as file:
            file.write((store.offsets[1:] + header.tokens).tobytes())
        for name in (_TOKENS, _LENGTHS, _IDS, *((_EXAMPLES,) if store.metric else ())):
            with open(folder / name, 'ab') as file, open(shard / name, 'rb') as part:
                shutil.copyfileobj(part, file)
        header.add(store.lengths, store.header.cut)
        shutil.rmtree(shard)
    _write_header(folder, header)
    return header


class TokenStore:
    """The pairs of one task split, memory-mapped: opening it reads a header, not the tokens."""

    def __init__(self, folder: Path, header: Header):
        """Maps the files of `folder`; `TokenStore.open` reads the header too."""
        self.folder, self.header = folder, header
        self.tokens = _map(folder / _TOKENS, header.dtype, (header.tokens,))
        self.offsets = _map(folder / _OFFSETS, 'int64', (header.pairs + 1,))
        self.lengths = _map(folder / _LENGTHS, 'int32', (header.pairs, 2))
        if self.offsets[-1] != header.tokens:
            raise UserError(
                f'{folder / _OFFSETS} is damaged: it ends at token {self.offsets[-1]} of '
                f'{header.tokens}; run `fsa pack` again'
            )

    @classmethod
    def open(cls, folder: str | Path) -> 'TokenStore':
        """The store in `folder`; UserError names a file that is missing, cut short or damaged."""
        return cls(Path(folder), _read_header(Path(folder)))

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.header.task

    @property
    def metric(self) -> str:
        """Scorer of the task: 'acsa', 'atsa' or empty."""
        return self.header.metric

    @property
    def rate(self) -> float:
        """The mixture rate the task was packed with."""
        return self.header.rate

    def __len__(self) -> int:
        return self.header.pairs

    def pair(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """(input_ids, target_ids) of pair `i`, `</s>` included; views of the mapped tokens."""
        start, middle, end = (
            self.offsets[i],
            self.offsets[i] + self.lengths[i, 0],
            self.offsets[i + 1],
        )
        return self.tokens[start:middle], self.tokens[middle:end]

    def ids(self, start: int = 0) -> Iterator[str]:
        """Ids of the pairs from `start` on."""
        with open(self.folder / _IDS, encoding='utf-8') as file:
            for line in itertools.islice(file, start, None):
                yield line.rstrip('\n')

    def examples(self, start: int = 0) -> Iterator[Example]:
        """Text, gold and subsets of the pairs from `start` on, where the task has a metric."""
        if not self.metric:
            raise UserError(f'{self.folder} holds no texts: task {self.task!r} has no metric')
        return itertools.islice(read_jsonl(Example, self.folder / _EXAMPLES), start, None)


def _read_header(folder: Path) -> Header:
    path = folder / HEADER
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
        values |= {name: tuple(values[name]) for name in ('longest', 'cut')}
        return Header(**values)
    except FileNotFoundError:
        raise UserError(f'{folder} is not a token store: it has no {HEADER}') from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f'{path} is damaged: {error}; run `fsa pack` again') from None


def _map(path: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """A read-only memory map of a file that must have just the size of the array."""
    kind = np.dtype(dtype).newbyteorder('<')
    expected = int(np.prod(shape)) * kind.itemsize
    size = path.stat().st_size if path.is_file() else None
    if size != expected:
        came = 'missing' if size is None else f'damaged: it has {size:,} bytes'
        raise UserError(f'{path} is {came}, expected {expected:,} bytes; run `fsa pack` again')
    if not expected:
        return np.zeros(shape, kind)  # an empty file cannot be mapped
    return np.memmap(path, kind, mode='r', shape=shape)


class PackedFolder:
    """What `fsa pack` wrote: the stores by task and split, and their vocabulary."""

    def __init__(self, folder: str | Path):
        """Reads the manifest; UserError where `folder` is not a finished output of pack."""
        self.folder = Path(folder)
        self._files = manifest.read(self.folder)['files']
        self._splits: dict[str, list[str]] = {}
        for name in self._files:
            parts = Path(name).parts
            if len(parts) == 3 and parts[2] == HEADER:
                self._splits.setdefault(parts[0], []).append(parts[1])
        if not self._splits:
            raise UserError(
                f'{folder} holds no token store; expected an output folder of `fsa pack`'
            )

    @property
    def tasks(self) -> list[str]:
        """Names of the packed tasks, sorted."""
        return sorted(self._splits)

    def splits(self, task: str) -> list[str]:
        """Splits of a task, sorted; UserError names the nearest task where it is not there."""
        if task not in self._splits:
            raise UserError(
                f'no task {task!r} in {self.folder}, which holds {", ".join(self.tasks)}'
                f'{nearest(task, self.tasks)}'
            )
        return sorted(self._splits[task])

    def store(self, task: str, split: str) -> TokenStore:
        """The store of a task split, its files checked against the hashes of the manifest."""
        if split not in self.splits(task):
            raise UserError(
                f'no split {split!r} of {task!r} in {self.folder}, which holds '
                f'{", ".join(self.splits(task))}{nearest(split, self.splits(task))}'
            )
        manifest.verify(self.folder, under=f'{task}/{split}/')
        store = TokenStore.open(self.folder / task / split)
        if store.header.vocabulary != self.vocabulary.sha256:
            raise UserError(
                f'{store.folder} was packed with another vocabulary than {self.folder}/vocabulary'
            )
        return store

    def stores(self, split: str, tasks: Sequence[str] = ()) -> dict[str, TokenStore]:
        """The stores of a split by task: of the named tasks, else of all tasks that have it."""
        names = tasks or [task for task in self.tasks if split in self.splits(task)]
        if not names:
            raise UserError(f'no task of {self.folder} has a split {split!r}')
        return {task: self.store(task, split) for task in names}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the ids."""
        return Vocabulary.load(self.folder / 'vocabulary')

    def check_vocabulary(self, vocabulary: Vocabulary, whose: str) -> None:
        """UserError unless `vocabulary`, that of `whose` (a folder), is the one of this data."""
        if vocabulary.sha256 != self.vocabulary.sha256:
            raise UserError(
                f'{self.folder} was packed with another vocabulary ({self.vocabulary.size} ids) than '
                f'that of {whose} ({vocabulary.size} ids): pack again with VocabularyConfig.path='
                f'{whose}/vocabulary, newline_token={vocabulary.newline_id is not None}'
            )

    @property
    def rates(self) -> dict[str, float]:
        """Mixture rate by task, as packed."""
        return {
            task: _read_header(self.folder / task / self.splits(task)[0]).rate
            for task in self.tasks
        }

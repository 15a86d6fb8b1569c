"""The token store: the pairs of one task split, tokenised once, memory-mapped.

    packed/                       what `fsa pack` leaves, with its manifest
      vocabulary/                 the vocabulary the ids belong to
      <task>/<split>/
        store.json                counts, dtype, metric, rate, hash of the vocabulary
        tokens.bin                uint16 or int32: input 0, target 0, input 1, target 1, ...
        offsets.bin               int64 [n + 1]: where pair i begins in tokens.bin
        lengths.bin               int32 [n, 2]: ids of its input and of its target, </s> included
        ids.txt                   one id a line
        examples.jsonl            text, gold and subsets of each pair, where the source gives them

All numbers are little-endian. A writer streams: it holds one batch, however large the corpus.
"""

import copy
import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from fsa_jax import manifest
from fsa_jax.artifacts import VOCABULARY
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError, nearest
from fsa_jax.records import Example, from_json

HEADER = 'store.json'
TOKENS, OFFSETS, LENGTHS = 'tokens.bin', 'offsets.bin', 'lengths.bin'
IDS, EXAMPLES = 'ids.txt', 'examples.jsonl'


@dataclasses.dataclass
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
        inputs, targets = ([pair[side] for pair in pairs] for side in (0, 1))
        ids = ids or [str(i) for i in range(len(pairs))]
        return cls(ids, *flat(inputs), *flat(targets), examples)


@dataclasses.dataclass
class Header:
    """`store.json`. `cut` counts inputs and targets that were longer than the limits.

    `frozen_passes` is 0 where the tokens do not depend on a seed, else how many passes of the random
    preprocessors the pairs are.
    """

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
    examples: bool = False
    frozen_passes: int = 0

    def add(self, lengths: np.ndarray) -> None:
        """Counts further pairs of these lengths, int [n, 2]."""
        self.pairs += len(lengths)
        self.tokens += int(lengths.sum())
        longest = lengths.max(axis=0, initial=0).tolist()
        self.longest = max(self.longest[0], longest[0]), max(self.longest[1], longest[1])


def flat(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ragged rows as TokenBatch holds them: (tokens int32, row splits int64)."""
    return np.fromiter(itertools.chain.from_iterable(rows), np.int32), np.cumsum(
        [0, *map(len, rows)]
    )


def ragged_index(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`concatenate([arange(s, s + n) for s, n in zip(starts, lengths)])`, int64."""
    ends = np.cumsum(lengths, dtype=np.int64)
    shift = np.asarray(starts, np.int64) - (ends - lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(shift, lengths)


class TokenStore:
    """The pairs of one task split, memory-mapped: opening it reads a header, not the tokens."""

    def __init__(self, folder: Path, header: Header):
        """Maps the files of `folder`; `TokenStore.open` reads the header too."""
        self.folder, self.header = folder, header
        self.tokens = _map(folder / TOKENS, header.dtype, (header.tokens,))
        self.offsets = _map(folder / OFFSETS, 'int64', (header.pairs + 1,))
        self.lengths = _map(folder / LENGTHS, 'int32', (header.pairs, 2))
        if self.offsets[-1] != header.tokens:
            raise UserError(
                f'{folder / OFFSETS} is damaged: it ends at token {self.offsets[-1]} of '
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

    def block(self, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """(tokens, lengths [n, 2]) of the pairs from `start` to `end` or the last, flat."""
        end = min(end, len(self))
        start = min(start, end)
        return self.tokens[self.offsets[start] : self.offsets[end]], self.lengths[start:end]

    def head(self, pairs: int) -> 'TokenStore':
        """A view of the first `pairs` pairs, or of all where there are fewer."""
        view = copy.copy(self)
        view.lengths = self.lengths[:pairs]
        view.offsets = self.offsets[: len(view.lengths) + 1]
        view.header = dataclasses.replace(self.header, pairs=len(view.lengths))
        return view

    def ids(self, start: int = 0) -> Iterator[str]:
        """Ids of the pairs from `start` on."""
        return _lines(self.folder / IDS, start, len(self))

    def example_lines(self, start: int = 0) -> Iterator[str]:
        """The examples as they are stored, a line of JSON each."""
        if not self.header.examples and len(self):
            raise UserError(f'{self.folder} holds no texts: task {self.task!r} has no metric')
        return _lines(self.folder / EXAMPLES, start, len(self)) if len(self) else iter(())

    def examples(self, start: int = 0) -> Iterator[Example]:
        """Text, gold and subsets of the pairs from `start` on, where the store keeps them."""
        where = self.folder / EXAMPLES
        for number, line in enumerate(self.example_lines(start), start + 1):
            yield from_json(Example, line, f'{where}:{number}')


def _lines(path: Path, start: int, end: int) -> Iterator[str]:
    with open(path, encoding='utf-8', newline='\n') as file:
        for line in itertools.islice(file, start, end):
            yield line.removesuffix('\n')


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

    def check_tasks(self, names: Iterable[str]) -> None:
        """UserError where a name is not that of a packed task."""
        for name in names:
            self.splits(name)

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
            there = sorted({other for task in self.tasks for other in self.splits(task)})
            raise UserError(
                f'no task of {self.folder} has a split {split!r}{nearest(split, there)}; there are '
                f'{", ".join(there)}'
            )
        return {task: self.store(task, split) for task in names}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the ids."""
        return Vocabulary.load(self.folder / VOCABULARY)

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

"""Tensors by name in a folder: model.safetensors, or shards with model.safetensors.index.json."""

import contextlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fsa_jax.errors import UserError

SINGLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
_FLOATS = ('F64', 'F32', 'F16', 'BF16')


@dataclass(frozen=True)
class Stored:
    """A tensor that lies in an open file; nothing is read before `read`."""

    name: str
    path: Path
    file: Any

    def read(self) -> np.ndarray:
        """The values, in the dtype they are stored in."""
        return self.file.get_tensor(self.name)

    def check(self, shape: tuple[int, ...]) -> None:
        """UserError unless it is floats of this shape."""
        found = self.file.get_slice(self.name)
        if found.get_shape() != list(shape):
            raise UserError(
                f'{self.path}: tensor {self.name!r} must have shape {list(shape)} by config.json; '
                f'got {found.get_shape()}'
            )
        if found.get_dtype() not in _FLOATS:
            raise UserError(
                f'{self.path}: tensor {self.name!r} must be one of {", ".join(_FLOATS)}; '
                f'got {found.get_dtype()}'
            )


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[dict[str, Stored]]:
    """All tensors of a folder by name, files open; UserError where a file or a tensor is missing."""
    with contextlib.ExitStack() as stack:
        tensors: dict[str, Stored] = {}
        for path, expected in _files(folder).items():
            try:
                file = stack.enter_context(safe_open(path, framework='numpy'))
            except (SafetensorError, OSError) as error:
                raise UserError(f'{path} is damaged: {_first_cut(path) or error}') from None
            stored = set(file.keys())
            for name in sorted(expected - stored):
                raise UserError(f'{path} lacks tensor {name!r}, which {INDEX} places there')
            tensors |= {name: Stored(name, path, file) for name in stored}
        yield tensors


def _files(folder: Path) -> dict[Path, set[str]]:
    """The files that hold weights, and the tensors that the index places in each."""
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file():
        return {single: set()}
    if index.is_file():
        placed = read_json(index).get('weight_map')
        if not isinstance(placed, dict):
            raise UserError(f'{index} has no weight_map')
        files: dict[Path, set[str]] = {}
        for name, file in sorted(placed.items()):
            files.setdefault(folder / Path(file).name, set()).add(name)
        for path, names in files.items():
            if not path.is_file():
                raise UserError(f'{path} is missing: {INDEX} places {min(names)!r} there')
        return files
    other = sorted(p.name for p in folder.glob('*.bin')) + sorted(
        p.name for p in folder.glob('*.msgpack')
    )
    if not other:
        raise UserError(f'{folder} holds no weights: neither {SINGLE} nor {INDEX}')
    raise UserError(
        f'{folder} holds {other[0]}, but only safetensors are read (a .bin is pickle, which can run '
        'code); convert it where torch is installed: AutoModelForSeq2SeqLM.from_pretrained(folder)'
        '.save_pretrained(new_folder)'
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file; UserError where it is something else."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UserError(f'{path} is not JSON, or it is cut short: {error}') from None
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold a JSON object; got {type(content).__name__}')
    return content


def _first_cut(path: Path) -> str:
    """Which tensor a truncated file ends in ('' where its header is gone as well).

    A file is: header length (uint64), header (JSON: name -> data_offsets), data.
    """
    with open(path, 'rb') as file:
        start = file.read(8)
        if len(start) < 8:
            return 'it is cut short, inside its header'
        (length,) = struct.unpack('<Q', start)
        size = path.stat().st_size
        if 8 + length > size:
            return 'it is cut short, inside its header'
        try:
            header = json.loads(file.read(length))
            ends = {
                n: 8 + length + v['data_offsets'][1] for n, v in header.items() if n[:2] != '__'
            }
        except (ValueError, TypeError, KeyError, IndexError):
            return ''
    cut = sorted((end, name) for name, end in ends.items() if end > size)
    return f'it is cut short, at tensor {cut[0][1]!r}' if cut else ''


def write(folder: Path, tensors: Iterable[tuple[str, np.ndarray]], shard_bytes: int) -> int:
    """Writes tensors into shards of at most `shard_bytes` (or one tensor); returns how many files.

    Holds one shard in memory. One shard is model.safetensors; several are named and indexed as
    transformers does.
    """
    shards: list[list[str]] = []
    total = 0
    for count, shard in enumerate(_shards(tensors, shard_bytes), 1):
        path = folder / f'{count}.partial'
        save_file(shard, path, metadata={'format': 'pt'})
        path.chmod(0o666 & ~_umask())  # safetensors lets nobody else read it
        shards.append(list(shard))
        total += sum(array.nbytes for array in shard.values())
    if len(shards) == 1:
        (folder / '1.partial').rename(folder / SINGLE)
        return 1
    placed: dict[str, str] = {}
    for count, shard_names in enumerate(shards, 1):
        name = f'model-{count:05d}-of-{len(shards):05d}.safetensors'
        (folder / f'{count}.partial').rename(folder / name)
        placed |= dict.fromkeys(shard_names, name)
    index = {'metadata': {'total_size': total}, 'weight_map': placed}
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + '\n')
    return len(shards)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def _shards(
    tensors: Iterable[tuple[str, np.ndarray]], shard_bytes: int
) -> Iterator[dict[str, np.ndarray]]:
    shard: dict[str, np.ndarray] = {}
    size = 0
    for name, array in tensors:
        if shard and size + array.nbytes > shard_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = array
        size += array.nbytes
    yield shard

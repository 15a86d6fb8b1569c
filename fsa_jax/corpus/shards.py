"""Examples of a corpus in numbered files: JSON lines, and Parquet of the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from fsa_jax.data.corpus_files import EXAMPLES
from fsa_jax.records import CorpusExample, to_json

PARQUET = 'parquet'
_ROWS = 5000  # examples held at once


class Shards:
    """Writes examples into `<split>-00000.jsonl`, a new file after `size` examples of a split."""

    def __init__(self, folder: Path, size: int):
        self._folder, self._size = folder, size
        self._files: dict[str, TextIO] = {}
        self._counts: dict[str, int] = {}

    def __enter__(self) -> 'Shards':
        self._folder.mkdir()
        return self

    def __exit__(self, *_) -> None:
        for file in self._files.values():
            file.close()

    def write(self, split: str, example: CorpusExample) -> None:
        """Appends an example to its split."""
        number, row = divmod(self._counts.get(split, 0), self._size)
        if row == 0:
            if split in self._files:
                self._files[split].close()
            path = self._folder / f'{split}-{number:05d}.jsonl'
            self._files[split] = path.open('w', encoding='utf-8', errors='replace')
        self._files[split].write(to_json(example) + '\n')
        self._counts[split] = self._counts.get(split, 0) + 1


def write_parquet(folder: Path) -> None:
    """Every JSON-lines file of a corpus as a Parquet file of the same name and one schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    opinion = [(name, text) for name in (
        'target', 'aspect', 'sentiment', 'raw_sentiment', 'reasoning', 'target_support'
    )]  # fmt: skip
    schema = pa.schema([
        ('id', text), ('domain', text), ('rating', pa.float32()), ('kind', text), ('input', text),
        ('target', text), ('opinions', pa.list_(pa.struct(opinion))), ('flags', pa.list_(text)),
        ('teacher', text), ('prompt_hash', text), ('prompt', text),
    ])  # fmt: skip
    (folder / PARQUET).mkdir()
    for file in sorted((folder / EXAMPLES).glob('*.jsonl')):
        path = folder / PARQUET / f'{file.stem}.parquet'
        with pq.ParquetWriter(path, schema, compression='zstd') as writer:
            for rows in _rows(file):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _rows(file: Path) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    with open(file, encoding='utf-8') as lines:
        for line in lines:
            rows.append(json.loads(line))
            if len(rows) == _ROWS:
                yield rows
                rows = []
    if rows:
        yield rows

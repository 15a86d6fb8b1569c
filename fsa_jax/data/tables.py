"""Rows of a CSV or Parquet file, one at a time, each with its place."""

import csv
import gzip
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fsa_jax.errors import UserError

_PARQUET_BATCH = 1024  # rows of a Parquet file in memory at once

Row = tuple[str, dict[str, Any]]
"""('file:line', or 'file:row' of a Parquet file; the columns)."""


def read_lines(path: Path, file: BinaryIO | None = None) -> Iterator[tuple[int, str]]:
    """Numbered lines with their line ends, a BOM left out; UserError names a line not in UTF-8.

    `file` is the path, opened, for a caller that follows its position. A .gz is unpacked.
    """
    raw = file or open(path, 'rb')  # noqa: SIM115
    with raw, gzip.open(raw) if path.suffix.lower() == '.gz' else raw as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, line.decode('utf-8-sig' if number == 1 else 'utf-8')
            except UnicodeDecodeError as error:
                raise UserError(f'{path}:{number}: expected UTF-8 text; {error.reason}') from None


def read_csv(path: Path, file: BinaryIO | None = None, *, delimiter: str = ',') -> Iterator[Row]:
    """Rows under a header; UserError names a line that is no row, or a column that is there twice."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default refuses texts over 128 KiB
    lines = (line for _, line in read_lines(path, file))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise UserError(f'{path}:1: column {twice!r} stands twice in the header')
        for values in reader:
            if not values:
                continue  # a blank line
            if len(values) != len(header):
                raise UserError(
                    f'{path}:{reader.line_num}: expected {len(header)} columns as in the header; '
                    f'got {len(values)}'
                )
            yield f'{path}:{reader.line_num}', dict(zip(header, values))
    except csv.Error as error:
        raise UserError(f'{path}:{reader.line_num}: not readable as CSV: {error}') from None


def read_parquet(path: Path, file: BinaryIO | None = None) -> Iterator[Row]:
    """Rows of a Parquet file, values as JSON holds them; UserError for a file that is none."""
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(file or path) as opened:
            for batch in opened.iter_batches(batch_size=_PARQUET_BATCH):
                for columns in _to_python(path, _without_nanoseconds(batch)):
                    number += 1
                    yield f'{path}:{number}', {k: _json_value(v) for k, v in columns.items()}
    except pyarrow.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'{path} is not readable as Parquet: {reason}') from None


def _to_python(path: Path, batch: Any) -> Iterator[dict[str, Any]]:
    """Rows of a pyarrow.RecordBatch; UserError names a column that Python cannot hold (the year 10000)."""
    values = []
    for name, column in zip(batch.schema.names, batch.columns):
        try:
            values.append(column.to_pylist())
        except (ValueError, OverflowError) as error:
            raise UserError(
                f'{path}: column {name!r} has a value that cannot be read ({error}); '
                'write it as text, or leave it out'
            ) from None
    return (dict(zip(batch.schema.names, row)) for row in zip(*values))


def _without_nanoseconds(batch: Any) -> Any:
    """A pyarrow.RecordBatch whose timestamps in nanoseconds, as pandas writes them, are text: Python's
    datetime cannot hold them."""
    import pyarrow

    for number, column in enumerate(batch.schema):
        if pyarrow.types.is_timestamp(column.type) and column.type.unit == 'ns':
            text = batch.column(number).cast(pyarrow.string())
            batch = batch.set_column(number, column.name, text)
    return batch


def _json_value(value: Any) -> Any:
    """A Parquet value as JSON holds it: NaN becomes null; a date or decimal its text; bytes, as some
    writers store text, the UTF-8 in them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode('utf-8', 'backslashreplace')
    if isinstance(value, dict):
        return {str(k): _json_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(v) for v in value]
    return value if value is None or isinstance(value, (str, int)) else str(value)

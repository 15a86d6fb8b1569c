"""Readers of a user's own file: .txt, .jsonl, .csv or .parquet, one row at a time.

Every row comes out, in order; what is wrong with one is flagged on it ('empty', 'unreadable').
Only a file that cannot be cut into rows at all stops with an error, which names file and line.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsa_jax.data.json_records import without_halves
from fsa_jax.data.tables import read_csv, read_lines, read_parquet
from fsa_jax.errors import UserError, nearest


@dataclass(frozen=True)
class InputRow:
    """A row of the user's file: its text, and all columns but text and id in `extra`."""

    id: str
    text: str
    flags: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


def read_rows(path: Path, text_field: str, id_field: str = '') -> Iterator[InputRow]:
    """Rows of `path` in file order, in constant memory.

    A .txt holds one text a line; the other formats hold columns, of which `text_field` is the text
    and `id_field` the id (empty: the number of the row, from 1). A text that is blank or missing is
    flagged 'empty', one that is no text (a number, a list) 'unreadable' and kept in `extra`.

    Raises:
      UserError: unknown file type, no rows, a column that is not there (with the nearest name), or
        a line that cannot be read (named by file and line).
    """
    if path.suffix.lower() not in _READERS:
        raise UserError(
            f'PredictConfig.input={str(path)!r} ends in {path.suffix!r}; expected one of '
            + ', '.join(_READERS)
        )
    if path.suffix.lower() == '.txt':
        text_field, id_field = 'text', ''
    number = 0
    for number, columns in enumerate(_READERS[path.suffix.lower()](path), 1):
        if number == 1:
            _check_columns(path, columns, text_field=text_field, id_field=id_field)
        yield _row(number, columns, text_field, id_field)
    if not number:
        raise UserError(f'{path} has no rows; expected at least one text')


def _check_columns(path: Path, columns: dict[str, Any], **wanted: str) -> None:
    for knob, name in wanted.items():
        if name and name not in columns:
            raise UserError(
                f'{path} has no column {name!r} (PredictConfig.{knob}); it has '
                f'{", ".join(map(repr, columns))}{nearest(name, columns)}'
            )


def _row(number: int, columns: dict[str, Any], text_field: str, id_field: str) -> InputRow:
    text = columns.get(text_field)
    kept = dict(columns)
    identity = kept.pop(id_field, None) if id_field else number
    flags: tuple[str, ...] = ()
    if isinstance(text, str) or text is None:
        kept.pop(text_field, None)
        flags = () if text and text.strip() else ('empty',)
    else:
        flags, text = ('unreadable',), ''
    return InputRow(
        id=str(number if identity is None else identity),
        text=without_halves(text or ''),
        flags=flags,
        extra=kept,
    )


def _read_txt(path: Path) -> Iterator[dict[str, Any]]:
    for _, line in read_lines(path):
        yield {'text': line.rstrip('\r\n')}


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            columns = json.loads(line, parse_constant=lambda name: None)  # NaN is no JSON
        except (ValueError, RecursionError) as error:
            raise UserError(f'{path}:{number}: expected one JSON object a line; {error}') from None
        if not isinstance(columns, dict):
            raise UserError(
                f'{path}:{number}: expected a JSON object; got {type(columns).__name__}'
            )
        yield columns


_READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    '.txt': _read_txt,
    '.jsonl': _read_jsonl,
    '.csv': lambda path: (columns for _, columns in read_csv(path)),
    '.parquet': lambda path: (columns for _, columns in read_parquet(path)),
}

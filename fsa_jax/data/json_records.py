"""JSON objects out of a file, each with its place: an array or JSON lines, with or without a BOM."""

import codecs
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from fsa_jax.errors import UserError

_OTHER_BOMS = {
    codecs.BOM_UTF32_LE: 'UTF-32',
    codecs.BOM_UTF32_BE: 'UTF-32',
    codecs.BOM_UTF16_LE: 'UTF-16',
    codecs.BOM_UTF16_BE: 'UTF-16',
}


def read_json_records(
    path: str | Path,
    *,
    file: BinaryIO | None = None,
    loads: Callable[[str], Any] = json.loads,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields ('file:line', object) for every object of a JSON array or of JSON lines.

    The file is UTF-8, perhaps gzipped (.gz); a byte-order mark at its start is skipped. JSON lines
    are streamed, an array is read whole. `file` is the path, opened, for a caller that follows its
    position; `loads` parses a line as json.loads does.

    Raises UserError with file and line for another encoding, a byte-order mark elsewhere, a line or
    record that is not valid JSON, and a record that is not an object.
    """
    path = Path(path)
    check_encoding(path)
    with open_text(path, file) as text:
        opening = _first_character(path, text)
        text.seek(0)
        records = _array(path, text.read()) if opening == '[' else _lines(path, text, loads)
        try:
            for where, record in records:
                if not isinstance(record, dict):
                    kind = type(record).__name__
                    raise UserError(f'{where}: expected a JSON object, got a {kind}')
                yield where, record
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from None


def open_text(path: Path, file: BinaryIO | None = None) -> TextIO:
    """A UTF-8 file for reading, unpacked if it ends in .gz, a byte-order mark left out."""
    if path.suffix.lower() == '.gz':
        return gzip.open(file or path, 'rt', encoding='utf-8-sig')
    if file is not None:
        return io.TextIOWrapper(file, encoding='utf-8-sig')
    return open(path, encoding='utf-8-sig')


def check_encoding(path: Path) -> None:
    """UserError unless `path` is a file that does not open with a UTF-16 or UTF-32 mark."""
    if not path.is_file():
        raise UserError(f'{path}: no such file')
    with open(path, 'rb') as file:
        start = file.read(4)
    for mark, name in _OTHER_BOMS.items():
        if start.startswith(mark):
            raise UserError(f'{path}:1: expected UTF-8, found the byte-order mark of {name}')


def _first_character(path: Path, file) -> str:
    try:
        return next((line.strip()[0] for line in file if line.strip()), '')
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None


def _not_utf8(path: Path, error: UnicodeDecodeError) -> UserError:
    return UserError(f'{path}:{_bad_line(path)}: expected UTF-8 text; {error.reason}')


def _bad_line(path: Path) -> int:
    with gzip.open(path) if path.suffix.lower() == '.gz' else open(path, 'rb') as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode('utf-8')
            except UnicodeDecodeError:
                return number
    return 1


def _lines(path: Path, file, loads) -> Iterator[tuple[str, Any]]:
    named = str(path)
    for number, line in enumerate(file, 1):
        if line.strip():
            where = f'{named}:{number}'
            try:
                yield where, loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f'{where}: broken line, {_explain(line, error)}') from None


def _array(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    decoder = json.JSONDecoder()
    position, line = text.index('[') + 1, 1
    counted = 0
    while True:
        position = _skip(text, position, ' \t\r\n')
        line += text.count('\n', counted, position)
        counted = position
        where = f'{path}:{line}'
        if text[position : position + 1] == ']':
            break
        try:
            record, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise UserError(f'{path}:{error.lineno}: {_explain(text, error)}') from None
        except (ValueError, RecursionError) as error:
            raise UserError(f'{where}: {_explain(text, error)}') from None
        yield where, record
        position = _skip(text, end, ' \t\r\n')
        if text[position : position + 1] == ',':
            position += 1
        elif text[position : position + 1] != ']':
            line += text.count('\n', counted, position)
            raise UserError(f"{path}:{line}: expected ',' or ']' after a record of the array")
    if text[position + 1 :].strip():
        raise UserError(
            f'{path}:{line}: the array ends here, but the file goes on (two files joined?)'
        )


def without_halves(text: str) -> str:
    """`text` with '?' for each half of a character (a lone surrogate), which JSON can escape and UTF-8
    cannot hold."""
    return text if text.isascii() else text.encode('utf-8', 'replace').decode()


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _explain(text: str, error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return str(error)  # nested too deep, a number of too many digits
    if text[error.pos : error.pos + 1] == '\ufeff':
        return 'a byte-order mark in the middle of the file (two files joined?)'
    return f'not valid JSON: {error.msg} at column {error.colno}'

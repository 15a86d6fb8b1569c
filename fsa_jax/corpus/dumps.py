"""Review dumps as they are published, a review at a time, in constant memory.

Known by their columns: Yelp's academic data set, Amazon reviews of 2014, 2018 and 2023, labelled
sentences, and our own records.Review. A knob names a column of any other file.
"""

import gzip
import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from fsa_jax.configs import ReviewsConfig
from fsa_jax.data.json_records import read_json_records
from fsa_jax.data.tables import read_csv, read_parquet
from fsa_jax.errors import UserError, nearest

_TEXTS = ('text', 'reviewText', 'sentence', 'review', 'Text', 'input')
_RATINGS = ('stars', 'overall', 'rating', 'Overall')
_IDS = (
    ('review_id',),  # Yelp
    ('reviewerID', 'asin', 'unixReviewTime'),  # Amazon 2014, 2018
    ('user_id', 'asin', 'timestamp'),  # Amazon 2023
    ('id',),
    ('ID',),
)
_DOMAIN = 'domain'
_PEEK = 100  # records whose columns are looked at: a published record may lack its text

Record = tuple[str, dict[str, Any]]
"""('file:line', its columns)."""


def _loads(line: str) -> Any:
    """orjson is three times as fast; what it refuses (NaN, half a character) json may take."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)


def _read_json(path: Path, file: BinaryIO) -> Iterator[Record]:
    return read_json_records(path, file=file, loads=_loads)


_READERS: dict[str, Callable[[Path, BinaryIO], Iterator[Record]]] = {
    '.json': _read_json,
    '.jsonl': _read_json,
    '.csv': read_csv,
    '.parquet': read_parquet,
}


def _suffix(path: Path) -> str:
    packed = path.suffix.lower() == '.gz'
    return (path.with_suffix('') if packed else path).suffix.lower()


def dump_files(path: str | Path, knob: str) -> list[Path]:
    """The file, or the readable files under a folder in the order of their paths, hidden ones left out.

    Raises UserError, naming the `knob`, where there is none.
    """
    path = Path(path)
    if path.is_file():
        if _suffix(path) not in _READERS:
            raise UserError(
                f'{knob}: {path} ends in {path.suffix!r}; expected one of {", ".join(_READERS)}, '
                'the text formats also as .gz'
            )
        return [path]
    if not path.is_dir():
        raise UserError(f'{knob}: expected a file or folder at {str(path)!r}, which does not exist')
    files = sorted(f for f in path.rglob('*') if _is_data(f, path))
    if not files:
        raise UserError(f'{knob}: {path} holds no file that ends in {", ".join(_READERS)}')
    return files


def _is_data(file: Path, root: Path) -> bool:
    hidden = any(part.startswith('.') for part in file.relative_to(root).parts)
    return _suffix(file) in _READERS and file.name != 'manifest.json' and not hidden


@dataclass(frozen=True)
class Columns:
    """The columns that hold what a review is made of; '' or () where there is none."""

    source: str  # name of the file, without its endings
    text: str
    rating: str = ''
    id: tuple[str, ...] = ()
    domain: str = ''

    @classmethod
    def found(cls, names: dict[str, None], path: Path, config: ReviewsConfig) -> 'Columns':
        """Those that the config names, else those that are known; UserError for one that is not there."""
        for knob in ('text_field', 'rating_field', 'id_field'):
            name = getattr(config, knob)
            if name and name not in names:
                raise UserError(
                    f'{path} has no column {name!r} (ReviewsConfig.{knob}); it has '
                    f'{", ".join(map(repr, names))}{nearest(name, names)}'
                )
        text = config.text_field or next((name for name in _TEXTS if name in names), '')
        if not text:
            raise UserError(
                f'{path} has none of the columns {", ".join(map(repr, _TEXTS))} that hold a text; '
                f'ReviewsConfig.text_field names it; it has {", ".join(map(repr, names))}'
            )
        return cls(
            source=path.name.removesuffix('.gz').rpartition('.')[0],
            text=text,
            rating=config.rating_field or next((name for name in _RATINGS if name in names), ''),
            id=(config.id_field,)
            if config.id_field
            else next((ids for ids in _IDS if names.keys() >= {*ids}), ()),
            domain='' if config.domain or _DOMAIN not in names else _DOMAIN,
        )


@dataclass
class Dump:
    """The files of a dump, read one after the other; `position` follows, in bytes."""

    files: list[Path]
    config: ReviewsConfig
    _before: int = 0
    _file: BinaryIO | None = field(default=None, repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._before + (self._file.tell() if self._file and not self._file.closed else 0)

    def __iter__(self) -> Iterator[tuple[Columns, Iterator[Record]]]:
        """The columns and the records of each file. UserError for a file that cannot be read."""
        for path in self.files:
            with open(path, 'rb', buffering=1 << 20) as self._file:
                records = _unpacked(path, _READERS[_suffix(path)](path, self._file))
                first = list(itertools.islice(records, _PEEK))
                if first:
                    names = dict.fromkeys(name for _, record in first for name in record)
                    yield Columns.found(names, path, self.config), itertools.chain(first, records)
            self._before += os.path.getsize(path)


def _unpacked(path: Path, records: Iterator[Record]) -> Iterator[Record]:
    """The records; a .gz that is damaged or cut short is a UserError."""
    try:
        yield from records
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f'{path} is damaged: {error}') from None

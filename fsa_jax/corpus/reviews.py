"""The reviews that `fsa sample` leaves behind: `reviews.jsonl`, or numbered shards of it."""

from collections.abc import Iterator
from pathlib import Path

from fsa_jax.errors import UserError
from fsa_jax.records import Review, read_jsonl

PATTERN = 'reviews*.jsonl'


def review_files(path: str | Path) -> list[Path]:
    """The file itself, or the `reviews*.jsonl` of a folder in the order of their names."""
    path = Path(path)
    if path.is_file():
        return [path]
    files = sorted(path.glob(PATTERN))
    if not files:
        why = f'holds no {PATTERN}' if path.is_dir() else 'does not exist'
        raise UserError(f'{path} {why}; expected the output of `fsa sample`, or such a file')
    return files


def read_reviews(path: str | Path) -> Iterator[Review]:
    """Reviews of a folder or file in order, streamed; UserError names file and line of a bad one."""
    for file in review_files(path):
        yield from read_jsonl(Review, file)

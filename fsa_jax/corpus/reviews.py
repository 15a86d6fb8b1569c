"""The reviews that `fsa sample` leaves behind: `reviews.jsonl`, or numbered shards of it."""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType

from fsa_jax.errors import UserError
from fsa_jax.records import Review, read_jsonl

PATTERN = 'reviews*.jsonl'
_FIELDS = (
    ('id', str, 'text'),
    ('text', str, 'text'),
    ('domain', str, 'text'),
    ('rating', (int, float, NoneType), 'a number of stars or null'),
)


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
    """Reviews of a folder or file in order, streamed; UserError names file and line, or id, of a bad one."""
    for file in review_files(path):
        for review in read_jsonl(Review, file):
            _check(review, file)
            yield review


def _check(review: Review, file: Path) -> None:
    """What another program wrote may hold numbers for text, and text for numbers."""
    for name, kinds, wanted in _FIELDS:
        value = getattr(review, name)
        if not isinstance(value, kinds):
            raise UserError(
                f'{file}: review {review.id!r}: {name!r} must be {wanted}; got {value!r:.80}'
            )

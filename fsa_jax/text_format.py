"""Labels <-> text: the target strings of ACSA and ATSA, and their parser, side by side.

    food quality | positive ; service general | negative

ACSA pairs are (category, polarity), ATSA pairs (term, polarity). Strings and parser are those of the
published benchmark (arXiv 2412.18552): F1 is comparable with the paper's only while they stay so.
Standard library only.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from fsa_jax.errors import UserError
from fsa_jax.records import POLARITIES, Aspect

Pair = tuple[str, str]  # (category or term, polarity)
Order = Literal['released', 'numeric']


class Parsed(NamedTuple):
    """What the parser keeps of a string, and the parts that it drops (blank ones aside)."""

    pairs: list[Pair]
    dropped: list[str]


# ---------------------------------------------------------------------------------------------
# Labels -> text


def join(pairs: Iterable[Pair]) -> str:
    """`a | positive ; b | negative`; no pairs: `''`."""
    return ' ; '.join(f'{term} | {polarity}' for term, polarity in pairs)


def acsa_target(aspects: Iterable[Aspect]) -> str:
    """The ACSA target: `food quality | positive` for FOOD#QUALITY, in file order, repeats skipped.

    Raises UserError for an aspect without a category.
    """
    return join(dict.fromkeys((_category(a), a.polarity) for a in aspects))


def atsa_target(aspects: Iterable[Aspect], order: Order = 'released') -> str:
    """The ATSA target: the aspects that have a term, sorted by (start, end).

    Exact repeats (same pair, same offsets) collapse; the same pair at two offsets stays twice. A
    null offset counts as 0. `'released'` sorts offsets as they are stored, often as strings
    (`'103' < '22'`), as the published code does; `'numeric'` sorts them as numbers. Ties, which that
    code leaves to chance, and ints beside strings, which it cannot sort, have a fixed order too.

    Raises UserError for an offset that is no number, when `order='numeric'`.
    """
    key = _as_number if order == 'numeric' else _as_stored
    items = {
        (key(a.start), key(a.end), a.target, a.polarity)
        for a in aspects
        if a.target not in (None, 'NULL')
    }
    return join((target, polarity) for _, _, target, polarity in sorted(items))


def _category(aspect: Aspect) -> str:
    if aspect.category is None:
        raise UserError(
            f'ACSA needs a category for each aspect; got none for target {aspect.target!r} '
            "(ATSA data? see TrainData.task='atsa')"
        )
    return aspect.category.lower().replace('#', ' ')


def _as_stored(offset: str | int | None) -> tuple[bool, Any]:
    value = 0 if offset is None else offset
    return isinstance(value, str), value


def _as_number(offset: str | int | None) -> int:
    try:
        return 0 if offset is None else int(offset)
    except ValueError:
        raise UserError(
            f"an offset must be a number; got {offset!r} (PackConfig.target_order='released' sorts "
            'offsets as they are)'
        ) from None


# ---------------------------------------------------------------------------------------------
# Text -> labels


def parse(
    task: str, text: str, sentence: str = '', polarities: Iterable[str] = POLARITIES
) -> Parsed:
    """The pairs of a target or generated string, repeats kept, in order.

    A part between `;` is kept if it holds exactly one `|`, its polarity is one of `polarities`, and,
    when `task='atsa'`, its term is a case-sensitive substring of `sentence` (the empty one is).
    Spaces around separators do not matter. All else is dropped.
    """
    parsed = Parsed([], [])
    for part in text.split(';'):
        fields = tuple(field.strip() for field in part.split('|'))
        if (
            len(fields) == 2
            and fields[1] in polarities
            and (task != 'atsa' or fields[0] in sentence)
        ):
            parsed.pairs.append(fields)
        elif part.strip():
            parsed.dropped.append(part.strip())
    return parsed

"""How many reviews of each rating are drawn.

A cell is (stars, implicit): stars are 1 to 5, 0 where a dump has no ratings; implicit is True or False,
None where nobody asks. Shares are exact (largest remainders), not left to chance.
"""

import bisect
import math
from collections.abc import Mapping

from fsa_jax.configs import ReviewsConfig
from fsa_jax.errors import UserError

Cell = tuple[int, bool | None]
STARS = (1, 2, 3, 4, 5)


def targets(there: Mapping[Cell, int], config: ReviewsConfig) -> dict[Cell, int]:
    """Reviews to draw from each cell, of which `there` says how many exist.

    With `size` 0, as many as there can be while the shares hold. Raises UserError when a cell has
    too few for `size` or for its quota.
    """
    size = sum(config.quotas) if config.balance == 'quotas' else config.size
    size = size or _largest(there, config) or sum(there.values())
    wanted = _wanted(size, there, config)
    check_filled(wanted, there, config)
    return wanted


def check_filled(wanted: Mapping[Cell, int], there: Mapping[Cell, int], config: ReviewsConfig):
    """UserError when `there` has fewer than `wanted` of a cell: how many, and what to change."""
    short = [cell for cell, count in wanted.items() if count > there.get(cell, 0)]
    if short:
        scarcest = min(short, key=lambda cell: there.get(cell, 0) / wanted[cell])
        raise UserError(_too_few(scarcest, wanted[scarcest], there, config))


def round_stars(rating: float | None) -> int:
    """The stars of a cell: halves go up, no rating is 0."""
    return 0 if rating is None else math.floor(rating + 0.5)


def split(total: int, weights: Mapping[Cell, float]) -> dict[Cell, int]:
    """`total` in whole parts proportional to the weights: largest remainders, ties to the first."""
    whole = sum(weights.values()) or 1
    exact = {cell: total * weight / whole for cell, weight in weights.items()}
    parts = {cell: math.floor(value) for cell, value in exact.items()}
    by_remainder = sorted(exact, key=lambda cell: parts[cell] - exact[cell])
    for cell in by_remainder[: total - sum(parts.values())]:
        parts[cell] += 1
    return parts


def _wanted(size: int, there: Mapping[Cell, int], config: ReviewsConfig) -> dict[Cell, int]:
    if config.implicit_share is None:
        return split(size, _weights(None, there, config))
    implicit = round(size * config.implicit_share)
    hidden = split(implicit, _weights(True, there, config))
    plain = split(size - implicit, _weights(False, there, config))
    if config.balance != 'weights':  # the sum over both is exact for each rating
        whole = split(size, _weights(None, there, config))
        plain = {(s, False): whole[s, None] - hidden[s, True] for s, _ in whole}
    return hidden | plain


def _weights(
    implicit: bool | None, there: Mapping[Cell, int], config: ReviewsConfig
) -> dict[Cell, float]:
    """The weight of each cell that is implicit, or explicit, or of either kind."""
    if config.balance == 'uniform':
        return dict.fromkeys([(stars, implicit) for stars in STARS], 1.0)
    if config.balance == 'quotas':
        return {(stars, implicit): n for stars, n in zip(STARS, config.quotas)}
    weight = dict(zip((0, *STARS), (1.0, *config.rating_weights)))
    cells = sorted(cell for cell in there if cell[1] is implicit) or [(0, implicit)]
    return {cell: weight[cell[0]] * max(1, there.get(cell, 0)) for cell in cells}


def _largest(there: Mapping[Cell, int], config: ReviewsConfig) -> int:
    """The largest size that `there` can fill."""

    def too_large(size: int) -> bool:
        wanted = _wanted(size, there, config)
        return sum(wanted.values()) < size or any(n > there.get(c, 0) for c, n in wanted.items())

    step = len(STARS) if config.balance == 'uniform' else 1
    sizes = range(0, sum(there.values()) + step + 1, step)
    return sizes[bisect.bisect_left(sizes, True, lo=1, key=too_large) - 1]


def _too_few(cell: Cell, count: int, there: Mapping[Cell, int], config: ReviewsConfig) -> str:
    stars, implicit = cell
    kind = {True: 'implicit ', False: 'explicit ', None: ''}[implicit]
    rated = f' of {stars} star{"s" * (stars > 1)}' if stars else ''
    if config.balance == 'quotas':
        remedy = 'lower ReviewsConfig.quotas'
    elif largest := _largest(there, config):
        remedy = (
            f'ReviewsConfig.size={largest} is the most for which the shares hold (0 takes that)'
        )
    else:
        remedy = 'no sample has the shares that ReviewsConfig asks for'
    return (
        f'too few reviews: {count:,} {kind}reviews{rated} are asked for and {there.get(cell, 0):,} '
        f'passed all filters; {remedy}'
    )

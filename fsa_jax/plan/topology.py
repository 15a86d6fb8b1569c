"""TPU chips and slices: what the vendor publishes of a chip, and the names of slices."""

import math
import re
from dataclasses import dataclass

from fsa_jax.errors import UserError, nearest

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """A chip's published peaks, per second, and the memory that its compiler lets a program have.

    `ici` and `dcn` are bytes that a chip sends: half of the bidirectional rate of all its links, and
    its share of the network cards of its host or pod.
    """

    flops: float  # bf16
    hbm: int  # bytes
    hbm_rate: float
    ici: float
    dcn: float
    cores: int = 1  # that a slice name such as v4-8 counts
    source: str = ''


# HBM: as libtpu says in 'exceeds available HBM (15.75G)'; tests/system/test_plan_tpu.py asks it again.
_DOCS = 'Google Cloud, TPU documentation, page of the chip'
CHIPS = {
    'v4': Chip(275e12, int(30.75 * GIB), 1228e9, 300e9, 6.25e9, 2, f'{_DOCS}; ICI: Jouppi et al. 2023, '
               'six links of 50 GB/s; DCN: assumed as v5p'),
    'v5e': Chip(197e12, int(15.75 * GIB), 819e9, 200e9, 3.125e9, 1, f'{_DOCS}; DCN: 6.4 Tbit/s a pod of 256'),
    'v5p': Chip(459e12, int(95.74 * GIB), 2765e9, 600e9, 6.25e9, 2, f'{_DOCS}; DCN: 50 Gbit/s a chip'),
    'v6e': Chip(918e12, int(31.25 * GIB), 1638e9, 400e9, 12.5e9, 1, f'{_DOCS}; DCN: 25.6 Tbit/s a pod of 256'),
}  # fmt: skip

# Slices that can be rented by name, with the number that the name counts.
_SHAPES = {
    'v4': {8: '2x2x1', 16: '2x2x2', 32: '2x2x4', 64: '2x4x4', 128: '4x4x4'},
    'v5e': {1: '1x1', 4: '2x2', 8: '2x4', 16: '4x4', 32: '4x8', 64: '8x8', 128: '8x16', 256: '16x16'},
    'v5p': {8: '2x2x1', 16: '2x2x2', 64: '2x4x4', 128: '4x4x4', 256: '4x4x8', 512: '4x8x8', 1024: '8x8x8'},
    'v6e': {1: '1x1', 4: '2x2', 8: '2x4', 16: '4x4', 32: '4x8', 64: '8x8', 128: '8x16', 256: '16x16'},
}  # fmt: skip
NAMES = tuple(f'{chip}-{count}' for chip, shapes in _SHAPES.items() for count in shapes)
# What --all takes, and the table of docs/results/plan.md: small, middle and large of each chip.
CHOSEN = (
    'v5e-16', 'v5e-64', 'v5e-256', 'v4-8', 'v4-32', 'v5p-8', 'v5p-128', 'v6e-8', 'v6e-64', 'v6e-256',
)  # fmt: skip


@dataclass(frozen=True)
class Slices:
    """`count` equal slices of a chip, each of a shape such as 4x4."""

    chip_name: str
    shape: str
    count: int = 1

    @property
    def chip(self) -> Chip:
        """What one chip can do."""
        return CHIPS[self.chip_name]

    @property
    def chips(self) -> int:
        """Chips of all slices."""
        return self.count * math.prod(map(int, self.shape.split('x')))

    @property
    def topology(self) -> str:
        """As libtpu names one slice: v5e:4x4."""
        return f'{self.chip_name}:{self.shape}'

    @property
    def name(self) -> str:
        """As it is rented: v5e-16, 2 x v5e-16, or its topology where it has no such name."""
        names = {shape: number for number, shape in _SHAPES[self.chip_name].items()}
        number = names.get(self.shape)
        one = self.topology if number is None else f'{self.chip_name}-{number}'
        return one if self.count == 1 else f'{self.count} x {one}'


def parse(name: str, count: int = 1) -> Slices:
    """'v5e:4x4' or 'v5e-16' (v4 and v5p count TensorCores, two a chip); UserError names the nearest."""
    chip, separator, rest = name.strip().lower().partition(':' if ':' in name else '-')
    if chip not in CHIPS:
        raise UserError(
            f'--topology: no chip {chip!r} in {name!r}{nearest(name, NAMES)}; expected one of '
            f'{", ".join(CHIPS)}, as in v5e:4x4 or v5e-16'
        )
    if separator == ':' and re.fullmatch(r'[1-9]\d*(x[1-9]\d*){1,2}', rest):
        dimensions = len(next(iter(_SHAPES[chip].values())).split('x'))
        if len(rest.split('x')) == dimensions:
            return Slices(chip, rest, count)
        raise UserError(f'--topology: {chip} has {dimensions} dimensions; got {name!r}')
    if separator == '-' and rest.isdigit() and int(rest) in _SHAPES[chip]:
        return Slices(chip, _SHAPES[chip][int(rest)], count)
    raise UserError(
        f'--topology: no slice {name!r}{nearest(name, NAMES)}; slices of {chip}: '
        f'{", ".join(n for n in NAMES if n.startswith(chip + "-"))}, or a shape as in {chip}:'
        f'{_SHAPES[chip][16]}'
    )


def describe() -> str:
    """The end of the help page: slices and chips."""
    lines = ['slices by name (v4 and v5p count TensorCores, two a chip):']
    for chip, shapes in _SHAPES.items():
        lines.append('  ' + '  '.join(f'{chip}-{n}' for n in shapes))
    lines += ['--all: ' + ' '.join(CHOSEN[:5]), '       ' + ' '.join(CHOSEN[5:])]
    return '\n'.join(lines)

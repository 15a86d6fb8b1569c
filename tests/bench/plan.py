"""The plan table: T5 sizes on TPU slices, compiled ahead of time, into docs/results/plan.{json,md}.

    ./launch/plan.sh --table            compiles what is missing (some minutes a cell), then writes
    python -m tests.bench.plan          the same in an environment that has libtpu
    python -m tests.bench.plan --page   only writes plan.md from plan.json

It may be stopped at any time: a cell that is in plan.json for the same question is not asked again.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any

from fsa_jax import configs as c
from fsa_jax import environment, gin_registry
from fsa_jax.errors import UserError
from fsa_jax.manifest import write_atomic
from fsa_jax.plan import page
from fsa_jax.plan.cell import plan_cell, scaled
from fsa_jax.plan.compiler import find_libtpu, libtpu_version
from fsa_jax.plan.program import Knobs
from fsa_jax.plan.topology import CHOSEN, Slices, parse
from fsa_jax.progress import say
from tests.conftest import REPOSITORY

RESULTS = REPOSITORY / 'docs' / 'results'
KEPT = REPOSITORY / 'outputs' / 'plan'
RUN = 'run/distil_t5_base_packed.gin'
# Size: rows a chip, how parameters are cut, and what is kept for the backward pass.
SIZES = {
    'base': (2, {'preset': 'dp'}, 'none'),
    'large': (2, {'preset': 'fsdp', 'fsdp': 8}, 'minimal'),
    '3b': (1, {'preset': 'fsdp', 'fsdp': 8}, 'full'),
    '11b': (1, {'preset': 'fsdp_tp', 'fsdp': 64, 'tensor': 4}, 'full'),
}
# 'quick' as cells are many, and tests compile two again; it optimises the program less.
PLAN = c.PlanConfig(tries=2, effort='quick')
# What is asked first, when time is short: the ends of the table, then its middle.
FIRST = (('base', 'v4-8'), ('base', 'v5e-16'), ('11b', 'v5e-256'), ('large', 'v5e-16'),
         ('3b', 'v5e-16'), ('base', 'v6e-8'), ('base', 'v5e-256'), ('11b', 'v6e-64'),
         ('large', 'v4-8'), ('base', 'v5p-8'), ('3b', 'v6e-8'), ('11b', 'v5p-128'))  # fmt: skip


def knobs(size: str, slices: Slices) -> tuple[Knobs, c.PlanConfig]:
    """The released recipe, packed, with a model of this size: its mesh no larger than the slice."""
    rows_per_chip, mesh, remat = SIZES[size]
    classes = (c.TrainConfig, c.T5Config, c.RowsConfig, c.OptimizerConfig, c.MeshConfig)
    files = [RUN, f'model/v1_0_{size}.gin']
    built: list[Any] = gin_registry.build(classes, files, [str(REPOSITORY / 'gin_configs')])
    tensor = min(int(mesh.get('tensor', 1)), slices.chips)
    fsdp = min(int(mesh.get('fsdp', 1)), slices.chips // tensor)
    built[1] = built[1].replace(remat=remat)
    built[4] = c.MeshConfig(fsdp=fsdp, tensor=tensor, preset=mesh['preset'])
    plan = PLAN.replace(rows_per_chip=rows_per_chip)
    return scaled(Knobs(*built), plan, slices), plan


def cells() -> Iterator[tuple[str, str]]:
    """(size, slice) of the table, the most telling first."""
    yield from FIRST
    yield from ((s, n) for n in CHOSEN for s in SIZES if (s, n) not in FIRST)


def read() -> dict[str, Any]:
    """plan.json as it stands."""
    path = RESULTS / 'plan.json'
    return json.loads(path.read_text()) if path.is_file() else {'cells': {}}


def write(content: dict[str, Any]) -> None:
    """plan.json and its page."""
    write_atomic(RESULTS / 'plan.json', json.dumps(content, indent=1) + '\n')
    write_atomic(RESULTS / 'plan.md', page.table(content, tuple(SIZES), CHOSEN))


def compile_missing(only: list[str]) -> None:
    """Compiles cell by cell; each is written at once."""
    version = libtpu_version(find_libtpu())
    for size, name in cells():
        content, key = read(), f'{size} {name}'
        asked = knobs(size, parse(name))[0].to_json()
        there = content['cells'].get(key, {})
        if (only and key not in only) or (
            there.get('asked') == asked and there.get('libtpu') == version
        ):
            continue
        say(f'compiling {key}')
        try:
            cell = plan_cell(*_arguments(size, name), KEPT)
        except UserError as error:  # the compiler crashed: the other cells may do
            say(f'{key}: {error}')
            continue
        content = read()
        content['versions'] = environment.versions()
        content['machine'] = environment.machine()
        content['effort'] = PLAN.effort
        content['cells'][key] = {'asked': asked, 'libtpu': version, **cell.to_json(0.0)}
        write(content)


def _arguments(size: str, name: str) -> tuple[Knobs, Slices, c.PlanConfig]:
    slices = parse(name)
    of_size, plan = knobs(size, slices)
    return of_size, slices, plan


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--page', action='store_true', help='only write the page')
    parser.add_argument(
        '--cell', action='append', default=[], help="only these, such as 'base v5e-16'"
    )
    arguments = parser.parse_args()
    if not arguments.page:
        compile_missing(arguments.cell)
    write(read())


if __name__ == '__main__':
    main()

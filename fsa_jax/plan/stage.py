"""The plan stage: a training run on slices that nobody has rented yet, and its teacher."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from fsa_jax import manifest, progress
from fsa_jax.configs import (
    MeshConfig,
    OptimizerConfig,
    PlanConfig,
    RowsConfig,
    T5Config,
    TrainConfig,
)
from fsa_jax.console import Console
from fsa_jax.errors import UserError
from fsa_jax.plan import page
from fsa_jax.plan.cell import Cell, plan_cell
from fsa_jax.plan.compiler import find_libtpu
from fsa_jax.plan.program import Knobs
from fsa_jax.plan.roofline import PASSES, activations
from fsa_jax.plan.teacher import estimate
from fsa_jax.plan.topology import CHOSEN, Slices, parse


def run(
    out: manifest.Output | None,
    plan: PlanConfig,
    train: TrainConfig,
    model: T5Config,
    rows: RowsConfig,
    optimizer: OptimizerConfig,
    mesh: MeshConfig,
) -> None:
    """Prints the plan; with --output also leaves plan.json, and the compiler's answers for a resume.

    UserError where there is nothing to plan, no compiler, or a mesh that is not of any slice.
    """
    names = (*plan.topology, *(CHOSEN if plan.all else ()))
    if not names and not plan.teacher_parameters:
        raise UserError(
            'nothing to plan: name slices (--topology=v5e:4x4, or --all), or a teacher '
            '(PlanConfig.teacher_parameters)'
        )
    console = Console()
    content: dict[str, Any] = {'slices': []}
    if names:
        find_libtpu()
        knobs = Knobs(train, model, rows, optimizer, mesh)
        slices = list(dict.fromkeys(parse(name, plan.num_slices) for name in names))
        cells = _cells(knobs, slices, plan, out.folder if out else None)
        content['slices'] = [cell.to_json(plan.price_per_chip_hour) for cell in cells]
        _print(console, cells, plan)
    if plan.teacher_parameters:
        told = estimate(plan)
        content['teacher'] = dataclasses.asdict(told)
        console.print(told.text(), soft_wrap=True, highlight=False)
    if out:
        manifest.write_atomic(out.folder / 'plan.json', json.dumps(content, indent=1) + '\n')
        out.counts['slices'] = len(content['slices'])
        out.counts['fit'] = sum(cell['fits'] for cell in content['slices'])


def _cells(knobs: Knobs, slices: list[Slices], plan: PlanConfig, folder: Path | None) -> list[Cell]:
    """A cell for each slice; where there are several, those that the configs do not fit are said and
    left out."""
    found, refused = [], []
    with (
        tempfile.TemporaryDirectory() as temporary,
        progress.track('plan', len(slices), 'slices') as bar,
    ):
        kept = folder / 'answers' if folder else Path(temporary)
        for one in slices:
            progress.say(f'compiling for {one.name}: some minutes')
            try:
                found.append(plan_cell(knobs, one, plan, kept))
            except UserError as error:
                if len(slices) == 1:
                    raise
                refused.append(f'{one.name}: {error}')
                progress.say(refused[-1])
            bar.update(1)
    if not found:
        raise UserError(f'the run fits none of the slices; {refused[0]}')
    return found


# -- what people read --------------------------------------------------------------------------


def _print(console: Console, cells: list[Cell], plan: PlanConfig) -> None:
    for cell in cells:
        for line in lines(cell, plan):
            console.print(line, soft_wrap=True, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ('slice', 'chips', 'HBM, GiB', 'step, ms', 'bound by', 'MFU <=', 'hours >='):
        table.add_column(name, justify='left' if name in ('slice', 'bound by') else 'right')
    for cell in cells:
        table.add_row(cell.slices.name, str(cell.slices.chips), *_row(cell))
    console.print(table)
    console.print(page.BOUNDS, highlight=False)


def _row(cell: Cell) -> list[str]:
    if not cell.fits:
        return ['does not fit']
    told = page.summary(cell.to_json(0.0))
    return [*told[:4], f'{cell.hours:.1f}' if cell.hours else '?']


def lines(cell: Cell, plan: PlanConfig) -> list[str]:
    """All that is known of a cell."""
    slices, told = cell.slices, cell.answer
    text = [f'{slices.name}: {slices.count} x {slices.topology}, {slices.chips} chips']
    text += [f'  {line}' for line in cell.failed]
    if cell.changes:
        text.append(f'  {"fits" if cell.fits else "tried"} with {" ".join(cell.changes)}')
    text += [f'  the partitioner warns: {warning}' for warning in told.get('warnings', ())]
    if not cell.fits:
        return [*text, f'  {cell.missing}', '']
    text += [f'  {line}' for line in (*_memory(cell), *_traffic(cell), *_time(cell, plan))]
    return [*text, '']


def _memory(cell: Cell) -> list[str]:
    held, content = cell.answer['held'], cell.to_json(0.0)
    return [
        f'HBM of a chip, GiB: parameters {page.gib(held["parameters"])}, optimizer '
        f'{page.gib(held["optimizer"])}, gradients and activations '
        f'{page.gib(activations(cell.answer))} (gradients alone {page.gib(held["gradients"])}), '
        f'program {page.gib(cell.answer["memory"]["program"])}; {page.gib(content["used"])} of '
        f'{page.gib(cell.slices.chip.hbm)}, headroom {page.gib(content["headroom"])}',
        f'compiled in {cell.answer["seconds"]:.0f} s',
    ]


def _traffic(cell: Cell) -> list[str]:
    line = cell.roofline
    text = [
        f'operations of a step: {line.operations:.4g}, and {line.rematerialised:.4g} again '
        f'(T5Config.remat={cell.knobs.model.remat!r})',
        f'HBM read and written by a chip: {cell.answer["hbm_bytes"] / 1e9:.2f} GB a step',
    ]
    for row in cell.answer['collectives']:
        if row['dtype'] == 'small':
            continue
        text.append(
            f'{row["kind"]} over {row["network"]} in {row["dtype"]}: {row["operations"]} a step of '
            f'{row["bytes"] / 1e9:.3f} GB in all, a chip sends {row["ici"] / 1e9:.3f} GB over '
            f'ICI, {row["dcn"] / 1e9:.3f} GB over DCN'
        )
        if row['gathers_rows']:
            text.append(f'  it gathers an activation over the whole batch: {row["largest"]}')
    if line.between_slices:
        text.append(
            f'between slices, by arithmetic (the runtime sends it, the program does not tell): every '
            f'gradient once in {cell.knobs.train.gradient_dtype}, ring over {cell.slices.count} slices: a '
            f'chip sends {line.between_slices / 1e9:.3f} GB over DCN'
        )
    return text


def _time(cell: Cell, plan: PlanConfig) -> list[str]:
    line, chip = cell.roofline, cell.slices.chip
    text = [
        f'a step takes at least {1000 * line.step:.2f} ms ({line.bound}); without any overlap '
        f'{1000 * line.without_overlap:.2f} ms: compute {1000 * line.compute:.2f}, memory '
        f'{1000 * line.memory:.2f}, ICI {1000 * line.ici:.2f}, DCN {1000 * line.dcn:.2f}',
        f'assumed of a chip: {chip.flops / 1e12:g} TFLOP/s, HBM {chip.hbm_rate / 1e9:g} GB/s, sends '
        f'{chip.ici / 1e9:g} GB/s over ICI and {chip.dcn / 1e9:g} GB/s over DCN'
        + f'; a product in float32 takes {PASSES} passes'
        * (cell.knobs.model.dtype == 'float32'),
        f'MFU at most {line.mfu:.1%}',
    ]
    if not cell.hours:
        return [*text, 'hours: unknown, as TrainConfig.steps is 0']
    chip_hours = cell.hours * cell.slices.chips
    hours = f'{cell.knobs.train.steps:,} steps: at least {cell.hours:.2f} hours, {chip_hours:.1f} chip-hours'
    if plan.price_per_chip_hour:
        hours += f', cost {chip_hours * plan.price_per_chip_hour:,.2f}'
    return [*text, hours]

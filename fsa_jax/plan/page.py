"""Plans as people read them: a table on a terminal, a page in Markdown."""

from collections.abc import Sequence
from typing import Any

from fsa_jax.plan.roofline import sent
from fsa_jax.plan.topology import CHIPS, GIB

BOUNDS = (
    'A bound from the compiled HLO and arithmetic, not a measurement: products, HBM and network each '
    'at their published peak, all overlapped. Real steps take longer.'
)


def gib(count: float) -> str:
    """Bytes in GiB."""
    return f'{count / GIB:.2f}'


def summary(cell: dict[str, Any]) -> list[str]:
    """HBM used / available, step bound, what bounds it, MFU bound, ICI and DCN GB, compile seconds."""
    answer, line = cell['answer'], cell['roofline']
    dcn = sent(answer, 'dcn') + line['between_slices']
    return [
        f'{gib(cell["used"])} / {gib(cell["used"] + cell["headroom"])}',
        f'{1000 * line["step"]:.1f}',
        line['bound'],
        f'{line["mfu"]:.0%}',
        f'{sent(answer, "ici") / 1e9:.2f} / {dcn / 1e9:.2f}',
        f'{answer["seconds"]:.0f}',
    ]


def table(content: dict[str, Any], sizes: Sequence[str], slices: Sequence[str]) -> str:
    """The page of all cells, those that were not compiled said so."""
    cells = content['cells']
    effort = content.get('effort', 'full')
    lines = [
        '# T5 on TPU slices, planned',
        '',
        f'{BOUNDS} Written by `python -m tests.bench.plan` from [plan.json](plan.json); '
        '[plan.md](../plan.md) says how to read it. The packed recipe '
        f"(`run/distil_t5_base_packed.gin`, 256 + 768 slots a row) with PlanConfig.effort='{effort}'.",
        '',
        '| size | slice | mesh, rows | HBM a chip, GiB | step, ms | bound by | MFU at most '
        '| sent, ICI / DCN, GB | compile, s | changed to fit |',
        '|---|---|---|---|---|---|---|---|---|---|',
    ]
    for size in sizes:
        for name in slices:
            cell = cells.get(f'{size} {name}')
            lines.append('| ' + ' | '.join([size, name, *_row(cell)]) + ' |')
    lines += ['', '## Assumed of the chips', '']
    lines += [
        '| chip | bf16, TFLOP/s | HBM, GiB | HBM, GB/s | ICI sent, GB/s | DCN sent, GB/s | source |'
    ]
    lines += ['|---|---|---|---|---|---|---|']
    for chip, c in CHIPS.items():
        rates = [c.flops / 1e12, c.hbm / GIB, c.hbm_rate / 1e9, c.ici / 1e9, c.dcn / 1e9]
        lines.append(f'| {chip} | ' + ' | '.join(f'{x:g}' for x in rates) + f' | {c.source} |')
    if versions := content.get('versions'):
        lines += ['', 'Compiled with ' + ', '.join(f'{k} {v}' for k, v in versions.items()) + '.']
    return '\n'.join(lines) + '\n'


def _row(cell: dict[str, Any] | None) -> list[str]:
    if cell is None:
        return ['', 'not measured', *[''] * 6]
    mesh, rows = cell['knobs']['mesh'], cell['knobs']['rows']
    laid_out = (
        f'{mesh["preset"]}, fsdp {mesh["fsdp"]}, tensor {mesh["tensor"]}; '
        f'{rows["batch_size"]} / {rows["microbatches"]}'
    )
    changed = ' '.join(change.removeprefix('--gin.') for change in cell['changes'])
    if cell['fits']:
        return [laid_out, *summary(cell), changed]
    told = cell['answer']['exhausted']
    return [
        laid_out,
        f'needs {gib(told["needed"])} of {gib(told["available"])}',
        *[''] * 5,
        changed,
    ]

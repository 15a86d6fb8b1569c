"""Corpora side by side on the console: how one teacher is compared with another."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from fsa_jax.console import Console
from fsa_jax.corpus import rates
from fsa_jax.errors import UserError

QUALITY = 'quality.json'


def read_quality(folder: Path) -> dict[str, Any]:
    """The quality.json of a corpus; UserError where there is none."""
    path = folder / QUALITY if folder.is_dir() else folder
    try:
        quality = json.loads(path.read_text('utf-8'))
        quality['kinds']
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f'{folder} has no {QUALITY}; expected an output of `fsa corpus`') from None
    return quality


def show(folders: Sequence[Path], names: Sequence[str] = ()) -> None:
    """Prints the rates of each corpus, a column each, under its name (or that of its folder)."""
    read = [read_quality(folder) for folder in folders]
    names = names or _names(folders)
    console = Console()
    kinds = sorted({kind for quality in read for kind in quality['kinds']})
    for kind in kinds:
        console.print(_table(kind, names, [q['kinds'].get(kind) for q in read]))
    for name, quality in zip(names, read):
        if quality.get('detectors'):
            console.print(_detectors(name, quality['detectors']))


def _names(folders: Sequence[Path]) -> list[str]:
    names = [folder.name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _table(kind: str, names: Sequence[str], found: Sequence[dict[str, Any] | None]) -> Table:
    table = Table(
        title={'analysis': 'analyses', 'rewriting': 'rewritings'}[kind], title_justify='left'
    )
    table.add_column('')
    for name in names:
        table.add_column(name, justify='right', overflow='fold')
    if len(names) == 1:
        table.add_column('')
    columns = [rates.sections(kind, q) if q else [] for q in found]
    titles = dict.fromkeys(section.title for column in columns for section in column)
    for title in titles:
        values = [{r.code: r for s in c if s.title == title for r in s.rows} for c in columns]
        table.add_section()
        table.add_row(f'[bold]{title}')
        for code in dict.fromkeys(code for column in values for code in column):
            row = next(column[code] for column in values if code in column)
            absent = '0.0 %' if row.share is not None else '–'
            shown = [c[code].value if code in c else absent if c else '–' for c in values]
            table.add_row(code, *shown, *([row.meaning] if len(names) == 1 else []))
    return table


def _detectors(name: str, detectors: dict[str, Any]) -> Table:
    table = Table(title=f'{name}: detectors on known errors', title_justify='left')
    for column in ('detector', 'error', 'answers with it', 'flagged', 'precision', 'recall'):
        table.add_column(column, justify='left' if column in ('detector', 'error') else 'right')
    for detector, d in detectors.items():
        table.add_row(
            detector, d['error'], f'{d["errors"]:,}', f'{d["flagged"]:,}',
            f'{d["precision"]:.2f}', f'{d["recall"]:.2f}',
        )  # fmt: skip
    return table

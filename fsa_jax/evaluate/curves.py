"""Curves of training runs as small inline SVGs that follow the page's colours, dark mode included.

matplotlib draws with placeholder colours, which become CSS: the text `currentColor`, and series i
`var(--series-i)`. Each panel is a figure of its own, so that a phone can stack them.
"""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fsa_jax.errors import UserError

METRICS = 'metrics.jsonl'
SERIES_COLOURS = 8  # the stylesheet defines --series-0 to --series-7
MOST_POINTS = 150  # longer series are averaged in bins: a page of ten runs stays small
_INK = '#010101'


@dataclass(frozen=True)
class Curve:
    """One line: what it is called, its points, and the index of its colour."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    colour: int = 0
    validation: bool = False


@dataclass
class Panel:
    """One set of axes. `legend` maps labels to colours, where these do not stand for systems."""

    title: str
    curves: list[Curve] = field(default_factory=list)
    percent: bool = False
    legend: dict[str, int] = field(default_factory=dict)


def read_metrics(folder: Path) -> dict[str, tuple[list[float], list[float]]]:
    """{metric: (steps, values)} of a training run; UserError where a row is broken."""
    path = folder / METRICS
    if not path.is_file():
        raise UserError(
            f'ReportConfig.runs: {folder} has no {METRICS}; expected a folder of `fsa train`'
        )
    series: dict[str, tuple[list[float], list[float]]] = {}
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        try:
            row: dict[str, Any] = json.loads(line)
            step = float(row.pop('step'))
        except (ValueError, KeyError, AttributeError):
            raise UserError(
                f'{path}:{number}: expected a JSON object with a step; got {line[:60]!r}'
            ) from None
        for name, value in row.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                steps, values = series.setdefault(name, ([], []))
                steps.append(step)
                values.append(float(value))
    return series


def panels(runs: Mapping[str, Mapping[str, tuple[list[float], list[float]]]]) -> list[Panel]:
    """The panels of runs that share their data: loss, validation F1, loss by task, as far as logged.

    `runs` maps a name to `read_metrics`; seeds of one group ('student/seed0', …) share a colour.
    """
    colours = {name: i % SERIES_COLOURS for i, name in enumerate(dict.fromkeys(map(group, runs)))}
    loss, f1, tasks = Panel('loss'), Panel('validation F1', percent=True), Panel('loss by task')
    names = sorted({key for series in runs.values() for key in series})
    by_task = [n for n in names if n.startswith('loss/')]
    for name, series in runs.items():
        colour = colours[group(name)]
        for key in ('loss', 'validation/loss'):
            if key in series:
                loss.curves.append(Curve(name, *series[key], colour, key != 'loss'))
        for key in names:
            if key in series and re.fullmatch(r'validation/(.*/)?f1', key):
                f1.curves.append(Curve(name, *series[key], colour, True))
        for i, key in enumerate(by_task if len(by_task) > 1 else ()):
            if key in series:
                tasks.legend[key.removeprefix('loss/')] = i % SERIES_COLOURS
                tasks.curves.append(Curve(name, *series[key], i % SERIES_COLOURS))
    return [panel for panel in (loss, f1, tasks) if panel.curves]


def group(name: str) -> str:
    """What several seeds share: 'student' for 'student/seed0'; the name itself without a slash."""
    return name.rpartition('/')[0] or name


def draw(panel: Panel) -> str:
    """The panel as an `<svg>` element for a page that defines the colours."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style(salt=repr(panel))):
        figure = Figure(figsize=(4.6, 2.9), layout='constrained')
        axes = figure.add_subplot()
        for curve in panel.curves:
            steps, values = thin(curve.steps, curve.values)
            axes.plot(
                steps,
                values * (100 if panel.percent else 1),
                color=f'#0200{curve.colour:02x}',
                linestyle='--' if curve.validation and not panel.percent else '-',
                marker='o' if panel.percent and len(steps) <= 40 else None,
                alpha=1 if curve.validation else 0.75,
            )
        _scale(axes, panel)
        buffer = io.StringIO()
        figure.savefig(buffer, format='svg', transparent=True)
    return _inline(buffer.getvalue(), panel.title)


def _style(salt: str) -> Any:
    inked = ('text.', 'axes.edge', 'axes.label', 'xtick.', 'ytick.', 'grid.')
    return {
        'svg.fonttype': 'none',  # text stays text, in the page's font
        'svg.hashsalt': salt,  # ids that are the same in each run and differ between panels
        'font.size': 9,
        'lines.linewidth': 1.4,
        'lines.markersize': 3,
        'grid.linewidth': 0.5,
        'grid.alpha': 0.2,
        'axes.spines.top': False,
        'axes.spines.right': False,
        **{f'{name}color': _INK for name in inked},
    }


def thin(
    steps: Sequence[float], values: Sequence[float], most: int = MOST_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` points: means of consecutive bins. Values that are not finite are left out."""
    points = np.array([steps, values], float)
    points = points[:, np.isfinite(points).all(axis=0)]
    bins = np.array_split(points, min(most, max(points.shape[1], 1)), axis=1)
    means = np.array([part.mean(axis=1) for part in bins if part.size]).reshape(-1, 2)
    return means[:, 0], means[:, 1]


def _scale(axes, panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_xlabel('step')
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis='y')
    values = [v for curve in panel.curves for v in curve.values if v > 0]
    if panel.percent:
        axes.set_ylim(bottom=0)
        axes.set_ylabel('%')
    elif values and max(values) > 6 * min(values):
        axes.set_yscale('log')
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{y:g}'))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _inline(svg: str, title: str) -> str:
    """What matplotlib wrote, without header, size, fonts and names that would clash in a page."""
    svg = svg[svg.index('<svg') :].strip()
    for pattern, replacement in (
        (r'<metadata>.*?</metadata>', ''),
        (r'<style.*?</style>', ''),
        (r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" aria-label="{title}">'),
        (r'<g id="[^"]*">', '<g>'),
        (r'font-family: [^;]*; ', ''),
        (r'xlink:href', 'href'),
        (_INK, 'currentColor'),
        (r'#0200(\w\w)', lambda m: f'var(--series-{int(m[1], 16)})'),
    ):
        svg = re.sub(pattern, replacement, svg, flags=re.DOTALL)
    return svg

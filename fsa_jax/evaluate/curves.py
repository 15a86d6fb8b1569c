"""Curves of training runs as small inline SVGs that follow the page's colours, dark mode included.

matplotlib draws with placeholder colours, which become CSS: the text `currentColor`, and series i
`var(--series-i)`. Each panel is a figure of its own, so that a phone can stack them.
"""

import html
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from fsa_jax.artifacts import METRICS
from fsa_jax.errors import UserError

SERIES_COLOURS = 8  # the stylesheet defines --series-0 to --series-7
MOST_POINTS = 150  # longer series are averaged in bins: a page of ten runs stays small
_INK = '#010101'

Points = tuple[list[float], list[float]]  # steps, values


@dataclass(frozen=True)
class Curve:
    """One line: its points, and the index of its colour."""

    points: Points
    colour: int = 0
    validation: bool = False


@dataclass
class Panel:
    """One set of axes. `legend` maps labels to colours, where these do not stand for systems."""

    title: str
    curves: list[Curve] = field(default_factory=list)
    percent: bool = False
    legend: dict[str, int] = field(default_factory=dict)


def read_metrics(folder: Path) -> dict[str, Points]:
    """{metric: (steps, values)} of a training run; UserError where a row is broken."""
    path = folder / METRICS
    if not path.is_file():
        raise UserError(
            f'ReportConfig.runs: {folder} has no {METRICS}; expected a folder of `fsa train`'
        )
    series: dict[str, Points] = {}
    lines = path.read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row: dict[str, Any] = json.loads(line)
            step = float(row.pop('step'))
        except (ValueError, KeyError, AttributeError, TypeError):
            if number == len(lines):
                break  # a run that is going on, or was killed, may leave its last row unfinished
            raise UserError(
                f'{path}:{number}: expected a JSON object with a step; got {line[:60]!r}'
            ) from None
        for name, value in row.items():
            if isinstance(value, (int, float)):
                steps, values = series.setdefault(name, ([], []))
                steps.append(step)
                values.append(float(value))
    return series


def panels(runs: Mapping[str, Mapping[str, Points]]) -> list[Panel]:
    """The panels of runs that share their data: loss and validation F1, and both by task if several.

    `runs` maps a name to `read_metrics`; seeds of one group ('student/seed0', …) share a colour.
    """
    colours = {name: i % SERIES_COLOURS for i, name in enumerate(dict.fromkeys(map(group, runs)))}
    loss, f1 = Panel('loss'), Panel('validation F1', percent=True)
    for name, series in runs.items():
        for panel, key in ((loss, 'loss'), (loss, 'validation/loss'), (f1, 'validation/f1')):
            if key in series:
                panel.curves.append(Curve(series[key], colours[group(name)], key != 'loss'))
    loss_by_task = _by_task('loss by task', runs, 'loss/')
    f1_by_task = _by_task('validation F1 by task', runs, 'validation/f1/', percent=True)
    return [panel for panel in (loss, f1, loss_by_task, f1_by_task) if panel.curves]


def _by_task(
    title: str, runs: Mapping[str, Mapping[str, Points]], prefix: str, percent: bool = False
) -> Panel:
    """A panel whose colours are tasks: the metrics that begin with `prefix`."""
    panel = Panel(title, percent=percent)
    keys = sorted({key for series in runs.values() for key in series if key.startswith(prefix)})
    for i, key in enumerate(keys):
        panel.legend[key.removeprefix(prefix)] = i % SERIES_COLOURS
        for series in runs.values():
            if key in series:
                panel.curves.append(Curve(series[key], i % SERIES_COLOURS, percent))
    return panel


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
            steps, values = thin(curve.points)
            dots = len(steps) == 1 or (panel.percent and len(steps) <= 40)
            axes.plot(
                steps,
                values * (100 if panel.percent else 1),
                color=f'#0200{curve.colour:02x}',
                linestyle='--' if curve.validation and not panel.percent else '-',
                marker='o' if dots else None,
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


def thin(points: Points, most: int = MOST_POINTS) -> Float[np.ndarray, '2 P']:
    """At most `most` points: means of consecutive bins. Values that are not finite are left out."""
    array = np.array(points, float)
    array = array[:, np.isfinite(array).all(axis=0)]
    bins = np.array_split(array, min(most, max(array.shape[1], 1)), axis=1)
    return np.array([part.mean(axis=1) for part in bins if part.size]).reshape(-1, 2).T


def _scale(axes, panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_xlabel('step')
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis='y')
    values = [v for curve in panel.curves for v in curve.points[1] if v > 0]
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
        (
            r'<svg [^>]*?(viewBox="[^"]*")[^>]*>',
            rf'<svg \1 role="img" aria-label="{html.escape(title)}">',
        ),
        (r'<g id="[^"]*">', '<g>'),
        (r'font-family: [^;]*; ', ''),
        (r'xlink:href', 'href'),
        (_INK, 'currentColor'),
        (r'#0200(\w\w)', lambda m: f'var(--series-{int(m[1], 16)})'),
    ):
        svg = re.sub(pattern, replacement, svg, flags=re.DOTALL)
    return svg

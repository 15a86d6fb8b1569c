"""`fsa judge score`: what raters say of each system, with intervals, and how far they agree.

Means are over reviews (raters' ratings of an item averaged first); the 95 % intervals resample the
reviews (percentile bootstrap, Efron and Tibshirani 1993), so the differences between systems are paired.
Agreement is Krippendorff's alpha over all items (Krippendorff 2011).
"""

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import krippendorff
import numpy as np
from jaxtyping import Float
from rich.table import Table

from fsa_jax import manifest
from fsa_jax.configs import JudgeScoreConfig
from fsa_jax.console import Console
from fsa_jax.corpus.judge_export import KEY, tag
from fsa_jax.data.tables import read_lines
from fsa_jax.errors import UserError

SCORES = 'judge.json'
_RATER = ('rater', 'annotator')  # columns that name who rated


class Rating(NamedTuple):
    """One number of one rater."""

    item: str
    criterion: str
    rater: str
    value: float


def run(out: manifest.Output, config: JudgeScoreConfig) -> None:
    """Reads the ratings, writes judge.json and judge.md, and prints the tables."""
    if not config.export or not config.ratings:
        raise UserError(
            'fsa judge score needs JudgeScoreConfig.export and JudgeScoreConfig.ratings'
        )
    key = _read_key(out.read('export', config.export))
    ratings: list[Rating] = []
    for number, name in enumerate(config.ratings):
        ratings += _read_ratings(out.read(f'ratings/{number}', name), key)
    _check_once(ratings)
    if not ratings:
        raise UserError(
            f'no ratings in {", ".join(config.ratings)}; expected filled columns {key["criteria"]}'
        )
    result = summarise(ratings, key, config)
    out.counts.update(ratings=len(ratings), raters=len(result['raters']))
    manifest.write_atomic(
        out.folder / SCORES, json.dumps(result, indent=1, ensure_ascii=False) + '\n'
    )
    manifest.write_atomic(out.folder / 'judge.md', _markdown(result))
    _show(result)


def summarise(
    ratings: list[Rating], key: Mapping[str, Any], config: JudgeScoreConfig
) -> dict[str, Any]:
    """Means, differences and agreement of each criterion."""
    result: dict[str, Any] = {
        'raters': sorted({r.rater for r in ratings}),
        'level': config.level,
        'points': key['points'],
        'criteria': {},
    }
    for criterion in key['criteria']:
        own = [r for r in ratings if r.criterion == criterion]
        if own:
            result['criteria'][criterion] = _criterion(own, key['items'], config)
    return result


def _criterion(
    ratings: list[Rating], items: Mapping[str, Any], config: JudgeScoreConfig
) -> dict[str, Any]:
    systems = sorted({items[r.item]['system'] for r in ratings})
    reviews = sorted({items[r.item]['review'] for r in ratings})
    means = _means(ratings, items, systems, reviews)
    draws = _resampled(means, config)
    pairs = itertools.combinations(range(len(systems)), 2)
    return {
        'alpha': alpha(ratings, config.level),
        'ratings': len(ratings),
        'systems': {
            name: {
                'mean': _number(np.nanmean(means[i])),
                'interval': _interval(draws[:, i]),
                'reviews': int(np.isfinite(means[i]).sum()),
            }
            for i, name in enumerate(systems)
        },
        'differences': {
            f'{systems[i]} - {systems[j]}': {
                'mean': _number(np.nanmean(means[i]) - np.nanmean(means[j])),
                'interval': _interval(draws[:, i] - draws[:, j]),
            }
            for i, j in pairs
        },
    }


def _means(ratings, items, systems, reviews) -> Float[np.ndarray, 'systems reviews']:
    """The mean rating of each system's answer to each review; NaN where nobody rated it."""
    sums, counts = np.zeros((len(systems), len(reviews))), np.zeros((len(systems), len(reviews)))
    row, column = {s: i for i, s in enumerate(systems)}, {r: i for i, r in enumerate(reviews)}
    for rating in ratings:
        place = row[items[rating.item]['system']], column[items[rating.item]['review']]
        sums[place] += rating.value
        counts[place] += 1
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _resampled(
    means: np.ndarray, config: JudgeScoreConfig
) -> Float[np.ndarray, 'resamples systems']:
    """The systems' means over reviews drawn with replacement, the same reviews for all systems."""
    rng = np.random.default_rng(config.seed)
    count = means.shape[1]
    weights = rng.multinomial(count, np.full(count, 1 / count), size=config.bootstrap)
    there = np.isfinite(means)
    with np.errstate(invalid='ignore'):
        return (weights @ np.where(there, means, 0.0).T) / (weights @ there.T)


def alpha(ratings: list[Rating], level: Literal['ordinal', 'interval']) -> float | None:
    """Krippendorff's alpha, None where it is not defined: one rater, or no two different ratings."""
    raters, items = sorted({r.rater for r in ratings}), sorted({r.item for r in ratings})
    table = np.full((len(raters), len(items)), np.nan)
    row, column = {r: i for i, r in enumerate(raters)}, {n: i for i, n in enumerate(items)}
    for rating in ratings:
        table[row[rating.rater], column[rating.item]] = rating.value
    paired = table[:, np.isfinite(table).sum(axis=0) > 1]
    if len(np.unique(paired[np.isfinite(paired)])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement=level))


def _number(value: float) -> float:
    return round(float(value), 6)


def _interval(draws: np.ndarray) -> list[float]:
    return [_number(end) for end in np.nanquantile(draws, [0.025, 0.975])]


# ---------------------------------------------------------------------------------------------
# Ratings from files


def _read_key(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / KEY).read_text())
    except (OSError, ValueError):
        raise UserError(
            f'{folder} has no readable {KEY}; expected an output of `fsa judge export`'
        ) from None


def _read_ratings(path: Path, key: Mapping[str, Any]) -> Iterator[Rating]:
    rows = _label_studio(path) if path.suffix == '.json' else _table(path)
    names = {
        name: criterion for criterion in key['criteria'] for name in (criterion, tag(criterion))
    }
    for where, row in rows:
        item = str(row.get('item') or '').strip()
        if item not in key['items']:
            raise UserError(
                f'{where}: item {item!r} is not in the key; are these ratings of another export?'
            )
        rater = next(
            (str(row[name]) for name in _RATER if row.get(name) not in (None, '')), path.stem
        )
        for name, value in row.items():
            if name in names and value not in (None, ''):
                yield Rating(
                    item, names[name], rater, _value(value, key['points'], f'{where}: {name}')
                )


def _check_once(ratings: list[Rating]) -> None:
    """UserError when somebody rated a thing twice: two files of one name may be two raters'."""
    counts = Counter((r.rater, r.item, r.criterion) for r in ratings)
    for (rater, item, criterion), count in counts.items():
        if count > 1:
            raise UserError(
                f'{rater!r} rated {criterion} of item {item!r} {count} times; a CSV file is of the rater '
                f"that it is named after, unless a column 'rater' says who"
            )


def _value(value: Any, points: int, where: str) -> float:
    if isinstance(value, dict):
        value = value.get('rating')
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float('nan')
    if not 1 <= number <= points:
        raise UserError(f'{where} must be a rating from 1 to {points}; got {value!r}')
    return number


def _table(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = [line for _, line in read_lines(path)]
    delimiter = max(',;\t', key=''.join(lines[:1]).count)  # spreadsheets of some languages write ;
    reader = csv.DictReader(lines, delimiter=delimiter)
    if 'item' not in (reader.fieldnames or ()):
        raise UserError(
            f"{path}: expected a column 'item'; got {', '.join(reader.fieldnames or ())}"
        )
    for row in reader:
        yield f'{path}:{reader.line_num}', {k.strip(): v for k, v in row.items() if k}


def _label_studio(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of an export of Label Studio, JSON or JSON-MIN."""
    try:
        tasks = json.loads(path.read_text('utf-8-sig'))
        if not all(isinstance(task, dict) for task in tasks):
            raise TypeError('an export is a list of tasks')
        for number, task in enumerate(tasks):
            where = f'{path}: task {number}'
            if 'annotations' not in task:
                yield where, task
                continue
            for annotation in task['annotations']:
                if annotation.get('was_cancelled'):
                    continue
                row = {'item': task['data']['item'], 'rater': _who(annotation.get('completed_by'))}
                for result in annotation['result']:
                    if 'rating' in result['value']:
                        row[result['from_name']] = result['value']['rating']
                yield where, row
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f'{path}: expected an export of Label Studio (JSON or JSON-MIN)') from None


def _who(user: Any) -> str:
    return str(user.get('email') or user.get('id')) if isinstance(user, dict) else str(user)


# ---------------------------------------------------------------------------------------------
# The tables


def _rows(result: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    systems = sorted({name for c in result['criteria'].values() for name in c['systems']})
    yield '', [*systems, 'alpha']
    for criterion, found in result['criteria'].items():
        cells = [_shown(found['systems'].get(name)) for name in systems]
        agreement = found['alpha']
        yield criterion, [*cells, '–' if agreement is None else f'{agreement:.2f}']


def _shown(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return '–'
    low, high = found['interval']
    return f'{found["mean"]:.2f} [{low:.2f}, {high:.2f}]'


def _note(result: Mapping[str, Any]) -> str:
    return (
        f'Means of 1 to {result["points"]}, more is better, [95 % bootstrap interval over reviews]; '
        f"Krippendorff's alpha ({result['level']}) of {len(result['raters'])} raters."
    )


def _markdown(result: Mapping[str, Any]) -> str:
    lines = ['# Judged by people', '', _note(result), '']
    for number, (name, cells) in enumerate(_rows(result)):
        lines.append('| ' + ' | '.join([name, *cells]) + ' |')
        if number == 0:
            lines.append('|---|' + '---:|' * len(cells))
    lines += [
        '',
        '## Differences',
        '',
        '| criterion | difference | mean | 95 % |',
        '|---|---|---:|---:|',
    ]
    for name, found in result['criteria'].items():
        for pair, d in found['differences'].items():
            low, high = d['interval']
            lines.append(f'| {name} | {pair} | {d["mean"]:.2f} | {low:.2f} to {high:.2f} |')
    return '\n'.join(lines) + '\n'


def _show(result: Mapping[str, Any]) -> None:
    rows = list(_rows(result))
    table = Table(
        title='judged by people',
        title_justify='left',
        caption=_note(result),
        caption_justify='left',
    )
    for name in ('', *rows[0][1]):
        table.add_column(name, justify='right' if name else 'left')
    for name, cells in rows[1:]:
        table.add_row(name, *cells)
    Console().print(table)

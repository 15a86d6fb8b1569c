"""The results section of README.md, made from the files of docs/results.

python -m tests.bench.readme      writes it; a test fails while README.md says something else
"""

import json
import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / 'README.md'
RESULTS = REPOSITORY / 'docs' / 'results'
_SECTION = re.compile(r'(<!-- results -->\n).*?(<!-- /results -->)', re.DOTALL)


def render() -> str:
    """The section as markdown."""
    parts = [_demo('quickstart.json'), _demo('real_smoke.json'), _benchmarks()]
    return '\n\n'.join(part for part in parts if part)


def _read(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    return json.loads(path.read_text()) if path.is_file() else None


def _demo(name: str) -> str:
    found = _read(name)
    if found is None:
        return ''
    seeds = len(next(iter(found['f1'].values()))['student']['normal']['seeds'])
    what = (
        'On **synthetic** reviews (`./launch/quickstart.sh`)'
        if found['data'] == 'synthetic'
        else 'On **real** data, a small student from scratch, without pretrained weights '
        '(`./launch/real_smoke.sh`)'
    )
    lines = [
        f'{what}, micro F1 in %, {seeds} seed{"s" * (seeds > 1)} ([{name}](docs/results/{name})):',
        '',
        '| dataset | subset | trivial baseline | not distilled | distilled |',
        '|---|---|---|---|---|',
    ]
    for dataset, f1 in found['f1'].items():
        for subset in f1['student']:
            cells = [_shown(f1[system][subset]) for system in ('control', 'student')]
            lines.append(
                f'| {dataset} | {subset} | {f1["baseline"][subset]:.2f} | {" | ".join(cells)} |'
            )
    return '\n'.join(lines)


def _shown(f1: dict[str, Any]) -> str:
    if f1['sd'] is not None:
        return f'{f1["mean"]:.2f} ± {f1["sd"]:.2f}'
    low, high = f1['intervals'][0]
    return f'{f1["mean"]:.2f} [{low:.2f}, {high:.2f}]'


def _benchmarks() -> str:
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob('bench_*.json'))]
    how = '(how they are made: [docs/results/README.md](docs/results/README.md))'
    tables = [
        _goals(f'Benchmarks on 2 CPU cores {how}:', found, 'cpu'),
        _goals(f'On {_gpus(found)}; the rest there, and TPU: not measured.', found, 'gpu'),
    ]
    return '\n\n'.join(table for table in tables if table)


def _gpus(found: list[dict[str, Any]]) -> str:
    """What the GPU parts of the files were measured on, and with which model."""
    parts = [one['gpu'] for one in found if isinstance(one.get('gpu'), dict)]
    told = {
        (*part['machine']['devices'], part['settings']['model'].split(',')[0]) for part in parts
    }
    return ' and '.join(', '.join(one) for one in sorted(told))


def _goals(heading: str, found: list[dict[str, Any]], device: str) -> str:
    lines = []
    for name, measured in ((one['benchmark'], one.get(device)) for one in found):
        for goal in measured['goals'] if isinstance(measured, dict) else ():
            verdict = {True: 'met', False: '**missed**', None: ''}[goal['met']]
            link = f'[{name}](docs/results/bench_{name}.json)'
            value = f'{goal["value"]:.2f}'
            lines.append(f'| {link} | {goal["name"]} | {value} | {goal["bound"]} | {verdict} |')
    if not lines:
        return ''
    return '\n'.join(
        [heading, '', '| benchmark | what | value | goal | |', '|---|---|---|---|---|', *lines]
    )


def updated(readme: str) -> str:
    """README.md's text with its results section made anew."""
    return _SECTION.sub(lambda match: f'{match[1]}\n{render()}\n\n{match[2]}', readme)


if __name__ == '__main__':
    README.write_text(updated(README.read_text()))

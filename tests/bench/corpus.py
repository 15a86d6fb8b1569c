"""`fsa corpus` on real teacher answers, repeated: answers/s of one core, memory, and the quality report.

    python -m tests.bench.corpus [--tiny]
    python -m tests.bench.corpus --quality     the quality report alone

The real answers are repeated, each copy of a review with a number of its own, so that none is a duplicate.
Rates count the CPU seconds of the process; memory is the largest resident set of an `fsa corpus` of its
own. `--quality` writes `quality_<answers>.json` and `.md` instead: the rates of the real answers, no text.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

from fsa_jax import environment, manifest, stages
from fsa_jax.configs import CorpusConfig, FilterConfig
from fsa_jax.corpus.filters import examine
from fsa_jax.records import Generation, to_json
from tests.bench import data, harness

ANSWERS = 'mixtral_250'


def main() -> None:
    parser = harness.arguments(__doc__ or '')
    parser.add_argument('--quality', action='store_true', help='write the quality report alone')
    flags = parser.parse_args()
    if flags.quality:
        publish_quality(flags.output)
        return
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Times the reading of answers, runs the stage in processes of its own, then the report."""
    rounds = flags.rounds or (1 if flags.tiny else 3)
    count, more = (200, 400) if flags.tiny else (10_000, 50_000)
    pairs = data.texts(flags.tiny)
    write_answers(folder / 'few.jsonl', pairs, count)
    write_answers(folder / 'many.jsonl', pairs, more)
    answers = [to_generation(number, pairs) for number in range(min(count, 2000))]
    work: dict[str, Callable[[], Any]] = {
        'parse and check': lambda: [examine(a, a.input, FilterConfig()) for a in answers],
    }
    seconds = harness.alternate(work, rounds, clock=process_time)
    report = harness.Report(
        'corpus',
        {
            'answers': f'{count:,} and {more:,}: {len(pairs)} answers, repeated',
            'processes': 1,
            'clock': 'CPU seconds of the process',
            'rounds': rounds,
        },
    )
    samples = [len(answers) / s for s in seconds['parse and check']]
    report.rows.append(harness.Row('parse and check', 'answers/s', samples))
    used = {}
    for name, size, times in (('few.jsonl', count, rounds), ('many.jsonl', more, 1)):
        runs = [run_stage(folder, name) for _ in range(times)]
        samples = [size / cpu for cpu, _ in runs]
        report.rows.append(harness.Row(f'fsa corpus, {size:,} answers', 'answers/s', samples))
        used[name] = runs[0][1]
        report.rows.append(harness.Row(f'memory, {size:,} answers', 'MB', [used[name]]))
    whole = report.row(f'fsa corpus, {more:,} answers').median
    report.goals.append(harness.Goal('fsa corpus, answers/s a core', whole, at_least=2000))
    growth = used['many.jsonl'] / used['few.jsonl']
    report.goals.append(
        harness.Goal(f'memory, {more // count} times the answers', growth, at_most=1.2)
    )
    report.publish(flags.output, devices=('cpu',))


def to_generation(number: int, pairs: list[tuple[str, str]]) -> Generation:
    """The answer of that number: the pairs in turn, each time to a review of its own."""
    again, place = divmod(number, len(pairs))
    review, answer = pairs[place]
    kind = 'analysis' if answer.lstrip().startswith('Opinion Target') else 'rewriting'
    return Generation(str(number), kind, f'{review} {again}', answer, rating=4.0)


def write_answers(path: Path, pairs: list[tuple[str, str]], count: int) -> None:
    """`count` answers as `fsa teach` writes them."""
    with open(path, 'w', encoding='utf-8') as file:
        for number in range(count):
            file.write(to_json(to_generation(number, pairs)) + '\n')


def run_stage(folder: Path, name: str) -> tuple[float, float]:
    """(CPU seconds, largest resident set in MB) of an `fsa corpus` over a file of answers."""
    command = [sys.executable, '-m', 'fsa_jax.cli', 'corpus', str(folder / name)]
    process = subprocess.Popen(
        [*command, f'--output={folder / "out"}', '--overwrite'], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f'fsa corpus failed with status {status}')
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def publish_quality(output: Path) -> None:
    """The quality report of the real answers as it may be published: rates, no text."""
    answers = data.shared() / 'data' / 'corpus' / f'{ANSWERS}.json'
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / 'corpus'
        configs = (CorpusConfig(answers=str(answers), examples=0), FilterConfig())
        stages.run('corpus', configs, made)
        page = (made / 'quality.md').read_text('utf-8')
        rates = json.loads((made / 'quality.json').read_text('utf-8'))
    quality = rates | {
        'command': harness.command(),
        'made_with': f'fsa corpus {answers.name} --gin.CorpusConfig.examples=0',
        'sha256': manifest.file_sha256(answers),
        'machine': environment.machine(),
        'versions': environment.versions(('datasketch', 'numpy')),
    }
    path = output / f'quality_{ANSWERS}.json'
    manifest.write_atomic(path, json.dumps(quality, indent=1, ensure_ascii=False) + '\n')
    manifest.write_atomic(path.with_suffix('.md'), page)
    print(f'wrote {path}')


if __name__ == '__main__':
    harness.main(main)

"""`fsa sample` on generated reviews: reviews/s of one core by filter, and the memory of whole runs.

    python -m tests.bench.sampling [--tiny]

The reviews are made: the lab's sentences, strung together in Yelp's form; one in twenty is a copy, one in
a hundred holds a benchmark sentence. There are as many of those as in the four published datasets.
Rates count the CPU seconds of the process, which runs on one core. Memory is the largest resident set
of an `fsa sample` of its own, over a million reviews.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

from fsa_jax.configs import LabConfig, ReviewsConfig
from fsa_jax.corpus.decontaminate import SHORT, Benchmark, read_benchmark
from fsa_jax.corpus.dumps import Dump
from fsa_jax.corpus.near_duplicates import NearDuplicates
from fsa_jax.corpus.screen import Passed, Seen, read_passing
from fsa_jax.corpus.words import words
from fsa_jax.lab.world import DOMAINS, World
from tests.bench import harness

BENCHMARK_SENTENCES = 14_824  # of rest16, laptop16, rest14 and laptop14, all splits
BANK = 20_000  # different sentences that the reviews are made of
STARS = ((1.0, 2.0, 3.0, 4.0, 5.0), (12, 10, 14, 28, 36))


def main() -> None:
    flags = harness.arguments(__doc__ or '').parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Times the filters in turn, runs the stage in processes of its own, then the report."""
    rounds = flags.rounds or (1 if flags.tiny else 3)
    count, whole = (500, 2000) if flags.tiny else (100_000, 1_000_000)
    write_dump(folder, whole, 200 if flags.tiny else BANK, 100 if flags.tiny else None)
    few, fewer = folder / 'few.json', folder / 'fewer.json'
    for path, lines in ((few, count), (fewer, count // 5)):
        with open(folder / 'reviews.json') as file:
            path.write_text(''.join(itertools.islice(file, lines)))
    benchmark = read_benchmark([folder / 'benchmark.json'])
    work: dict[str, Callable[[], Any]] = {
        'parse, length, rating': lambda: deque(passing(few), maxlen=0),
        '+ exact duplicates, decontamination': lambda: deque(screened(few, benchmark), maxlen=0),
        '+ near duplicates of all': lambda: near_duplicates(fewer, benchmark),
    }
    seconds = harness.alternate(work, rounds, clock=process_time)
    report = harness.Report(
        'sampling',
        {
            'reviews': f'{count:,} for rates ({count // 5:,} for near duplicates), {whole:,} for memory; generated',
            'bytes a review': round(few.stat().st_size / count),
            'benchmark sentences': benchmark.size,
            'processes': 1,
            'clock': 'CPU seconds of the process',
            'rounds': rounds,
        },
    )
    for name, number in zip(work, (count, count, count // 5)):
        report.rows.append(harness.Row(name, 'reviews/s', [number / s for s in seconds[name]]))
    plain, both, _ = (report.row(name).median for name in work)
    report.goals += [
        harness.Goal('parse + length + rating, reviews/s a core', plain, at_least=100_000),
        harness.Goal('with exact duplicates and decontamination', both, at_least=15_000),
    ]
    name = f'fsa sample, {whole:,} reviews, all drawn, near duplicates not looked for'
    every = {'size': 0, 'rating_weights': '(1,1,1,1,1)', 'near_duplicates': 0.0}
    used = add_run(report, name, folder, **every)
    report.goals.append(harness.Goal(f'{name}, MB', used, at_most=500))
    size = min(20_000, whole // 10)
    add_run(report, f'fsa sample, {whole:,} reviews, {size:,} drawn', folder, size=size)
    report.publish(flags.output, devices=('cpu',))


def passing(path: Path) -> Iterator[Passed]:
    """The first filters of the stage."""
    return read_passing(Dump([path], ReviewsConfig(domain='restaurant')), Counter())


def screened(path: Path, benchmark: Benchmark) -> Iterator[list[str]]:
    """The words of the reviews that pass all filters but near duplicates."""
    seen = Seen(0)
    for review in passing(path):
        new = seen(review.text)
        if new and not benchmark.find(new[1]):
            yield new[1]


def near_duplicates(path: Path, benchmark: Benchmark) -> None:
    """All reviews against all: a run looks at those alone that it would draw."""
    kept: list[list[str]] = []
    index = NearDuplicates(0.8, kept.__getitem__)
    for own in screened(path, benchmark):
        kept.append(own)
        index.add(len(kept) - 1, own)


def add_run(report: harness.Report, name: str, folder: Path, **knobs: Any) -> float:
    """Runs `fsa sample` over the whole dump; its largest resident set in MB (10^6 bytes).

    That and its CPU seconds become rows of the report.
    """
    knobs['benchmarks'] = folder / 'benchmark.json'
    given = [f'--gin.ReviewsConfig.{name}={value}' for name, value in knobs.items()]
    command = [sys.executable, '-m', 'fsa_jax.cli', 'sample', str(folder / 'reviews.json'), *given]
    process = subprocess.Popen([*command, f'--output={folder / "out"}', '--overwrite'])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f'fsa sample failed with status {status}')
    used = usage.ru_maxrss * 1024 / 1e6
    report.rows.append(harness.Row(f'{name}: memory', 'MB', [used]))
    report.rows.append(harness.Row(f'{name}: CPU', 's', [usage.ru_utime + usage.ru_stime]))
    return used


def write_dump(folder: Path, count: int, bank: int, benchmark: int | None) -> None:
    """`reviews.json` in Yelp's form and `benchmark.json`, made with a fixed seed."""
    rng, world = Random(0), World(LabConfig())
    sentences = made(world, rng, benchmark or BENCHMARK_SENTENCES, test=True)
    (folder / 'benchmark.json').write_text(json.dumps([{'sentence': s} for s in sentences]))
    find = Benchmark(sentences).find
    texts = [s for s in made(world, rng, bank) if not find(words(s))]
    long = [s for s in sentences if len(words(s)) >= SHORT]
    text = ''
    with open(folder / 'reviews.json', 'w', encoding='utf-8') as file:
        for number in range(count):
            if rng.random() > 0.05:
                said = rng.choices(texts, k=rng.randint(1, 14))
                if rng.random() < 0.01:
                    said.append(rng.choice(long))
                text = ' '.join(said)
            record = {
                'review_id': f'{number:022x}', 'user_id': f'{rng.getrandbits(64):022x}',
                'business_id': f'{rng.getrandbits(64):022x}', 'stars': rng.choices(*STARS)[0],
                'useful': 0, 'funny': 0, 'cool': 0, 'text': text, 'date': '2018-07-07 22:09:11',
            }  # fmt: skip
            file.write(json.dumps(record) + '\n')


def made(world: World, rng: Random, count: int, test: bool = False) -> list[str]:
    """Different sentences of the lab's domains."""
    found: dict[str, None] = {}
    for domain in itertools.cycle(DOMAINS):
        found[world.sentence(domain, rng, test=test).text] = None
        if len(found) == count:
            return list(found)
    return []


if __name__ == '__main__':
    harness.main(main)

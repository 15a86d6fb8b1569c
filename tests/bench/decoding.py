"""Decoding: greedy ids a second of our generator against transformers' generate.

    python -m tests.bench.decoding [--model=small|base] [--tiny]

64 real reviews, 99 ids each, A B A B in one process. Both sides have the same (random) weights, by way of
our export, and neither stops early: `</s>` is taken for an ordinary id on both.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from fsa_jax.configs import DecodeConfig
from fsa_jax.decode import Generator
from tests.bench import data, harness, random_student
from tests.bench.random_student import RandomStudent

DTYPES = ('float32', 'bfloat16')
Ids = list[list[int]]
# Parts of a step, by what is in the name of an operation of the compiled program; the first that fits.
_PARTS = {
    '/T5.encode/': 'encoder',
    '/T5.logits/': 'product with the vocabulary',
    '/while/body/reduce': 'argmax',
    '/mlp/': 'feed-forward',
    '/query/': 'projections of attention',
    'attention.project/': 'projections of attention',
    '/out/': 'projections of attention',
    'attention/': 'attention to cache and input',
}


def main() -> None:
    random_student.main(__doc__ or '', measure)


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Both dtypes, then the report."""
    student = RandomStudent(flags, folder)
    batch, length = (4, 8) if flags.tiny else (64, 99)
    vocabulary, rounds = student.vocabulary, student.rounds
    pairs = data.encode(vocabulary, data.texts(flags.tiny)[:batch])
    inputs = [ids if len(ids) <= 128 else [*ids[:127], vocabulary.eos_id] for ids, _ in pairs]
    report = harness.Report(
        'decoding',
        {
            'model': f'{student.name}, the same on both sides',
            'inputs': f'{batch} reviews, {sum(map(len, inputs))} ids, at most 128 each',
            'generated': f'{length} ids each; </s> ends nothing, on both sides',
            'threads': harness.CORES,
            'rounds': rounds,
        },
    )
    sides = make_sides(student, folder / 'export', inputs, length)
    outputs: dict[str, Ids] = {}

    def keep(name: str, run: Callable[[], Ids]) -> Callable[[], None]:
        return lambda: outputs.update({name: run()})

    seconds = harness.alternate({name: keep(name, run) for name, run in sides.items()}, rounds)
    for name, samples in seconds.items():
        assert all(len(ids) == length for ids in outputs[name]), name
        speeds = [batch * length / s for s in samples]
        dtype = name.split()[-1]
        report.rows.append(harness.Row(name, 'ids/s', speeds, dtype, harness.allocator()))
    if 'generate float32' in sides:
        for dtype in DTYPES:
            over, under = f'ours {dtype}', f'generate {dtype}'
            goal = {'at_least': 1.5} if dtype == 'float32' else {}
            report.ratio(f'{over} / {under}', over, under, **goal)
            same = sum(a == b for a, b in zip(outputs[over], outputs[under]))
            report.notes.append(f'{dtype}: {same} of {batch} sequences have the same ids')
    else:
        report.notes.append('torch or transformers is not installed: generate is not measured')
    report.device = harness.device()
    if report.missed and not flags.tiny:
        report.profile = shares(student, folder / 'trace', inputs, length)
    report.publish(flags.output)


def make_sides(
    student: RandomStudent, folder: Path, inputs: Ids, length: int
) -> dict[str, Callable[[], Ids]]:
    """'generate' and 'ours' in each dtype."""
    student.export(folder)
    sides: dict[str, Callable[[], Ids]] = {}
    for dtype in DTYPES:
        if harness.has_torch():
            from tests.bench import torch_side

            sides[f'generate {dtype}'] = torch_side.generate(folder, inputs, length, dtype)
        generator = Generator(
            student.endless.replace(dtype=dtype), DecodeConfig(batch_size=len(inputs))
        )
        sides[f'ours {dtype}'] = lambda g=generator: g.generate(student.params, inputs, length)
    return sides


def shares(student: RandomStudent, folder: Path, inputs: Ids, length: int) -> dict[str, str]:
    """Each part's share of the time that our float32 operations take, all threads together."""
    generator = Generator(student.endless, DecodeConfig(batch_size=len(inputs)))
    program, text = generator._decode, ''

    def keep(*arguments: Any, **options: Any) -> Any:
        nonlocal text
        text = program.lower(*arguments, **options).compile().as_text()
        return program(*arguments, **options)

    generator._decode = keep  # type: ignore[assignment]
    generator.generate(student.params, inputs, length)
    generator._decode = program
    with jax.profiler.trace(str(folder)):
        generator.generate(student.params, inputs, length)
    (path,) = folder.rglob('*.xplane.pb')
    seconds = by_part(jax.profiler.ProfileData.from_file(str(path)), text)
    whole = sum(seconds.values())
    return {part: f'{time / whole:.0%} of the time' for part, time in seconds.most_common()}


def by_part(trace: Any, program: str) -> Counter[str]:
    """Nanoseconds of a profiler's trace by part; `program` is the compiled one as text."""
    names = dict(re.findall(r'^\s*(?:ROOT )?%?([\w.-]+) = .*?op_name="([^"]*)"', program, re.M))
    batched = re.findall(r'^\s*(?:ROOT )?%?([\w.-]+) = .* dot\(.*batch_dims', program, re.M)
    names = dict.fromkeys(batched, 'attention/') | names  # the compiler forgets their names
    seconds: Counter[str] = Counter()
    for event in (e for plane in trace.planes for line in plane.lines for e in line.events):
        name = names.get(event.name)
        if name is not None and not event.name.startswith(('while', 'call', 'conditional')):
            part = next((part for sign, part in _PARTS.items() if sign in name), 'rest')
            seconds[part] += event.duration_ns
    return seconds


if __name__ == '__main__':
    harness.main(main)

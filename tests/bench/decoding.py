"""Decoding: greedy ids a second of our generator against transformers' generate.

    python -m tests.bench.decoding [--model=small|base] [--tiny]

64 real reviews, 99 ids each, A B A B in one process. Both sides have the same (random) weights, by way of
our export, and neither stops early: `</s>` is taken for an ordinary id on both.
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsa_jax.configs import DecodeConfig, T5Config
from fsa_jax.data.vocabulary import Vocabulary
from tests.bench import data, harness

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
    parser = harness.arguments(__doc__ or '')
    parser.add_argument('--model', choices=('small', 'base'), default='small')
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Both dtypes, then the report."""
    batch, length = (4, 8) if flags.tiny else (64, 99)
    rounds = flags.rounds or (1 if flags.tiny else 5)
    vocabulary = Vocabulary(data.vocabulary_path(flags.tiny, folder))
    pairs = data.encode(vocabulary, data.texts(flags.tiny)[:batch])
    inputs = [ids if len(ids) <= 128 else [*ids[:127], vocabulary.eos_id] for ids, _ in pairs]
    name = 'toy' if flags.tiny else flags.model
    config = T5Config(**data.MODELS[name], vocab_size=vocabulary.size, dropout_rate=0.0)
    report = harness.Report(
        'decoding',
        {
            'model': f'T5 v1.0 {name}, {vocabulary.size} rows, random weights, the same on both sides',
            'inputs': f'{batch} reviews, {sum(map(len, inputs))} ids, at most 128 each',
            'generated': f'{length} ids each; </s> ends nothing, on both sides',
            'threads': harness.CORES,
            'rounds': rounds,
        },
    )
    sides = make_sides(config, folder / 'export', inputs, length)
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
        report.profile = shares(config, folder / 'trace', inputs, length)
    report.publish(flags.output)


def make_sides(
    config: T5Config, folder: Path, inputs: Ids, length: int
) -> dict[str, Callable[[], Ids]]:
    """'generate' and 'ours' in each dtype."""
    import jax

    from fsa_jax.decode import Generator
    from fsa_jax.hf.export import save_pretrained
    from fsa_jax.model.t5 import init_params

    if jax.default_backend() != 'cpu':
        jax.config.update('jax_default_matmul_precision', 'float32')  # as torch multiplies there
    params: Any = jax.jit(init_params, static_argnums=0)(config, jax.random.key(0))
    save_pretrained(folder, config, params)
    endless = config.replace(eos_token_id=config.vocab_size)  # an id that is never chosen
    sides: dict[str, Callable[[], Ids]] = {}
    for dtype in DTYPES:
        if harness.has_torch():
            from tests.bench import torch_side

            sides[f'generate {dtype}'] = torch_side.generate(folder, inputs, length, dtype)
        generator = Generator(endless.replace(dtype=dtype), DecodeConfig(batch_size=len(inputs)))
        sides[f'ours {dtype}'] = lambda g=generator: g.generate(params, inputs, length)
    return sides


def shares(config: T5Config, folder: Path, inputs: Ids, length: int) -> dict[str, str]:
    """Each part's share of the time that our float32 operations take, all threads together."""
    import jax

    from fsa_jax.decode import Generator
    from fsa_jax.model.t5 import init_params

    params = init_params(config, jax.random.key(0))
    endless = config.replace(eos_token_id=config.vocab_size)
    generator = Generator(endless, DecodeConfig(batch_size=len(inputs)))
    program, text = generator._decode, ''

    def keep(*arguments: Any, **options: Any) -> Any:
        nonlocal text
        text = program.lower(*arguments, **options).compile().as_text()
        return program(*arguments, **options)

    generator._decode = keep  # type: ignore[assignment]
    generator.generate(params, inputs, length)
    generator._decode = program
    with jax.profiler.trace(str(folder)):
        generator.generate(params, inputs, length)
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

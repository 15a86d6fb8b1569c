"""Utilisation: what share of its peak a device gives to our train step, by rows of a microbatch.

    python -m tests.bench.utilisation [--model=small|base] [--rows=8,16,32] [--tiny]

Packed rows of the default shape, real pairs, bfloat16 activations, AdamWScale, dropout 0.1; layers scanned
and unrolled in turn. Operations are those that the model needs (fsa_jax/flops.py), against the peak that
the maker of the device states.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import jax

from fsa_jax import flops
from fsa_jax.configs import T5Config
from fsa_jax.data.rows import Rows
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.train.goodput import utilisation
from tests.bench import data, harness, our_side

STEPS = 10  # a sample: with so many the host prepares batches while the device computes
DTYPE = 'bfloat16'


def main() -> None:
    parser = harness.arguments(__doc__ or '')
    parser.add_argument('--model', choices=('small', 'base'), default='base')
    parser.add_argument('--rows', default='8,16,32', help='rows of a microbatch')
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """All sizes in turn, then the report."""
    name, steps = ('toy', 1) if flags.tiny else (flags.model, STEPS)
    rounds = flags.rounds or (1 if flags.tiny else 3)
    vocabulary = Vocabulary(data.vocabulary_path(flags.tiny, folder))
    pairs = data.encode(vocabulary, data.texts(flags.tiny))
    packed = data.pack(folder / 'packed', vocabulary, {'all': pairs})
    model = data.MODELS[name] | {'vocab_size': vocabulary.size}
    sizes = [2] if flags.tiny else [int(size) for size in flags.rows.split(',')]
    trainer = our_side.Trainer(folder / 'packed', model)
    report = harness.Report(
        'utilisation',
        {
            'model': f'T5 v1.0 {name}, {vocabulary.size} rows, dropout 0.1, random weights',
            'device': jax.devices()[0].device_kind,
            'steps': steps,
            'rounds': rounds,
        },
        harness.device(),
    )
    configs = {size: data.packed_rows(flags.tiny, size, 1) for size in sizes}
    sides = {
        f'{size} rows, {how}': trainer.step(config, 'all', DTYPE, steps, unroll=how == 'unrolled')
        for size, config in configs.items()
        for how in ('scanned', 'unrolled')
    }
    seconds = harness.alternate(sides, rounds)
    stores = {data.TASK: packed.store(data.TASK, 'all')}
    for side, samples in seconds.items():
        rows = Rows(stores, configs[int(side.split()[0])])
        add_row(report, side, [steps / s for s in samples], rows, T5Config(**model))
    report.publish(flags.output)


def add_row(
    report: harness.Report,
    name: str,
    steps_per_second: list[float],
    rows: Rows,
    model: T5Config,
) -> None:
    """Real pairs a second, and the operations and the share of the peak that they come to."""
    config = rows.config
    pairs = data.pairs_a_step(config, rows.fill())
    needed = flops.train_step(
        model, config.batch_size, config.encoder_length, config.decoder_length
    )
    speed = statistics.median(steps_per_second)
    used = utilisation(needed * speed, jax.devices()[0].device_kind, 1)
    details = used | {'milliseconds_a_step': 1000 / speed}
    samples = [pairs * one for one in steps_per_second]
    report.rows.append(harness.Row(name, 'real pairs/s', samples, DTYPE, details=details))
    if 'mfu' in used:
        report.goals.append(harness.Goal(f'MFU of {name}', used['mfu']))


if __name__ == '__main__':
    harness.main(main)

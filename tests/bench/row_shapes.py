"""Which shape of packed rows trains the most real pairs a second: `training --rows`.

For each shape: rows a second of the train step, times the pairs in a row of the plan. The plan is made
over many copies of the real pairs, as a long run's is; a microbatch holds about equally many slots.
"""

import argparse
from pathlib import Path

from fsa_jax.configs import RowsConfig
from fsa_jax.data.rows import Rows
from fsa_jax.data.vocabulary import Vocabulary
from tests.bench import data, harness

SHAPES = ((192, 576), (256, 768), (320, 1024), (384, 1024), (384, 1152), (512, 1536))
COPIES = 20
MICROBATCH_SLOTS = 2304  # decoder slots: 3 rows of 256 + 768


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Times one microbatch of each shape in turn, and reports real pairs a second."""
    from tests.bench import our_side

    vocabulary = Vocabulary(data.vocabulary_path(flags.tiny, folder))
    pairs = data.encode(vocabulary, data.texts(flags.tiny)) * (1 if flags.tiny else COPIES)
    packed = data.pack(folder / 'packed', vocabulary, {'all': pairs})
    stores = {data.TASK: packed.store(data.TASK, 'all')}
    name = 'toy' if flags.tiny else flags.model
    model = data.MODELS[name] | {'vocab_size': vocabulary.size}
    trainer = our_side.Trainer(folder / 'packed', model)
    shapes = [(96, 256), (128, 384)] if flags.tiny else SHAPES
    dtypes = ('float32',) if flags.tiny else ('float32', 'bfloat16')
    rounds = flags.rounds or (1 if flags.tiny else 3)
    report = harness.Report(
        'rows',
        {
            'model': f'T5 v1.0 {name}, {vocabulary.size} rows',
            'pairs': len(pairs),
            'threads': harness.CORES,
            'rounds': rounds,
        },
    )
    for dtype in dtypes:
        configs = {f'{e} + {d}': rows_of(e, d) for e, d in shapes}
        steps = {key: trainer.step(config, 'all', dtype) for key, config in configs.items()}
        seconds = harness.alternate(steps, rounds)
        for key, config in configs.items():
            fill = Rows(stores, config).fill()
            pairs_a_step = data.pairs_a_step(config, fill)
            samples = [pairs_a_step / s for s in seconds[key]]
            details = {
                'pairs_a_row': round(fill.pairs / fill.rows, 3),
                'fill': {
                    'all': round(fill.total, 4),
                    'encoder': round(fill.encoder, 4),
                    'decoder': round(fill.decoder, 4),
                },
                'rows_a_microbatch': config.batch_size,
            }
            row = harness.Row(
                f'{key} {dtype}', 'real pairs/s', samples, dtype, harness.allocator(), details
            )
            report.rows.append(row)
        best = max(configs, key=lambda key: report.row(f'{key} {dtype}').median)
        report.notes.append(f'most real pairs/s in {dtype}: {best}')
    report.device = harness.device()
    report.publish(flags.output)


def rows_of(encoder: int, decoder: int) -> RowsConfig:
    """One microbatch of rows of this shape."""
    rows = max(1, round(MICROBATCH_SLOTS / decoder))
    return RowsConfig(encoder_length=encoder, decoder_length=decoder, batch_size=rows)

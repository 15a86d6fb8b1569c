"""Seeds together against one after another: seconds of the training steps of all of them.

    python -m tests.bench.seeds                 a small student on this machine
    python -m tests.bench.seeds --model=base    t5-base at batch 16, ten seeds: for an accelerator

Both sides train the same seeds on the same batches: synthetic pairs as long as those of rest16 (median 16 +
5 ids, at most 81 + 29). The goal, 2 times the speed of ten runs of t5-base, is one for a GPU.
"""

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fsa_jax import configs as c
from fsa_jax import manifest
from fsa_jax.data.store import TokenBatch
from fsa_jax.data.store_writer import StoreWriter
from fsa_jax.data.vocabulary import Vocabulary, train_vocabulary
from fsa_jax.partition import Partition
from fsa_jax.train.feed import Feed
from fsa_jax.train.job import prepare
from fsa_jax.train.seeds import SeedGroup
from fsa_jax.train.step import compile_train_step
from tests.bench import harness

MODELS: dict[str, dict[str, Any]] = {
    'tiny': {'d_model': 32, 'd_kv': 16, 'd_ff': 64, 'num_layers': 1, 'num_decoder_layers': 1,
             'num_heads': 2, 'vocab_size': 512},
    'small': {'d_model': 128, 'd_kv': 32, 'd_ff': 512, 'num_layers': 3, 'num_decoder_layers': 3,
              'num_heads': 4, 'vocab_size': 32101},
    'base': {'vocab_size': 32101, 'dtype': 'bfloat16'},
}  # fmt: skip
SEEDS = {'tiny': 3, 'small': 3, 'base': 10}


def pack(folder: Path, vocab_size: int) -> Path:
    """Pairs of random ids whose lengths are spread as those of rest16."""
    random = np.random.default_rng(0)
    texts = (' '.join(f'w{i}' for i in random.integers(0, 500, 20)) for _ in range(2000))
    train_vocabulary(texts, 300, folder / 'words')
    vocabulary = Vocabulary(folder / 'words')

    def ids(median: float, most: int) -> list[int]:
        length = int(min(random.lognormal(np.log(median), 0.6), most - 1))
        return [*random.integers(3, min(vocab_size, 400), max(length, 1)).tolist(), 1]

    with manifest.output(folder / 'packed', 'pack', []) as out:
        vocabulary.save(out.folder / 'vocabulary')
        for split, count in (('train', 1600), ('validation', 16)):
            with StoreWriter(
                out.folder / 't' / split, vocabulary, task='t', split=split, metric='acsa'
            ) as writer:
                writer.write(
                    TokenBatch.from_pairs([(ids(16, 81), ids(5, 29)) for _ in range(count)])
                )
    return folder / 'packed'


class Sides:
    """The same steps of the same seeds, by one program for all and by one run after another."""

    def __init__(self, model: str, steps: int, folder: Path):
        self.seeds = tuple(range(42, 42 + SEEDS[model]))
        self.steps = steps
        shape = c.T5Config(**MODELS[model])
        train = c.TrainConfig(data=str(pack(folder, shape.vocab_size)), epochs=20.0)
        rows = c.RowsConfig(layout='pairs', encoder_length=0, decoder_length=0, buckets=1)
        optimizer = c.OptimizerConfig(weight_decay=0.01)
        partition = Partition.from_config(c.MeshConfig())
        self.alone = prepare(train, shape, rows, optimizer, partition)
        together = train.replace(seeds=self.seeds)
        self.group = SeedGroup(together, shape, rows, optimizer, partition, c.DecodeConfig())
        self.one_step = compile_train_step(
            self.alone.loss, self.alone.optimizer, train, partition, self.alone.shardings
        )
        self.all_step = self.group.compile_train_step()
        # The steps alone are compared: a start, which a run pays once, would hide them in so few.
        with partition.context():
            self._state: Any = self.alone.start()
        with self.group.partition.context():
            self._group_state: Any = self.group.start()

    def together(self) -> None:
        """All seeds in one program."""
        with self.group.partition.context():
            state, self._group_state = self._group_state, None
            for step in range(self.steps):
                state, _ = self.all_step(state, self.group.feed(step).arrays)
            self._group_state = jax.block_until_ready(state)

    def one_after_another(self) -> None:
        """The steps of a run for each seed; one state serves them all, and one program."""
        job = self.alone
        with job.partition.context():
            state, self._state = self._state, None
            for seed in self.seeds:
                feed = Feed(job.rows.with_seed(seed), job.partition)
                for step in range(self.steps):
                    state, _ = self.one_step(state, feed.at(step).arrays)
                jax.block_until_ready(state)
            self._state = state


def main() -> None:
    """Measures and writes bench_seeds.json."""
    parser = harness.arguments(__doc__ or '')
    parser.add_argument('--model', choices=('small', 'base'), default='small')
    parser.add_argument(
        '--steps', type=int, default=0, help='of each seed and round; 0: the default'
    )
    args = parser.parse_args()
    model = 'tiny' if args.tiny else args.model
    steps = args.steps or (5 if args.tiny else 20)
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(model, steps, Path(folder))
        seconds = harness.alternate(
            {'together': sides.together, 'one after another': sides.one_after_another},
            args.rounds or 3,
        )
    device = harness.device()
    count = len(sides.seeds)
    settings = {'model': model, 'seeds': count, 'steps': steps, 'batch_size': 16} | MODELS[model]
    report = harness.Report('seeds', settings, device)
    dtype = settings.get('dtype', 'float32')
    for name, samples in seconds.items():
        per_step = [1000 * sample / steps for sample in samples]
        report.rows.append(harness.Row(name, f'ms for a step of {count} seeds', per_step, dtype))
    bound = {'at_least': 2.0} if (device, model) == ('gpu', 'base') else {}
    report.ratio('one after another / together', 'one after another', 'together', **bound)
    report.notes.append('the goal of 2 is one for t5-base, ten seeds, on a GPU')
    report.publish(args.output)


if __name__ == '__main__':
    harness.main(main)

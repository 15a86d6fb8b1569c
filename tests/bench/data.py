"""The pairs of a benchmark: real teacher answers (FSA_SHARED), or made ones for --tiny."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsa_jax import manifest
from fsa_jax.configs import PackConfig, RowsConfig
from fsa_jax.data.corpus_files import read_generations
from fsa_jax.data.rows import Fill, Rows
from fsa_jax.data.store import PackedFolder, TokenBatch, TokenStore
from fsa_jax.data.store_writer import StoreWriter
from fsa_jax.data.vocabulary import Vocabulary, train_vocabulary
from fsa_jax.errors import UserError
from fsa_jax.records import POLARITIES
from tests.bench.harness import REPOSITORY

LIMITS = (128, 400)  # most input and target ids of a pair, as published
TASK = 'teacher_answers'
MODELS: dict[str, dict[str, Any]] = {
    'base': {},
    'small': {
        'd_model': 512, 'd_ff': 2048, 'num_layers': 6, 'num_decoder_layers': 6, 'num_heads': 8,
    },
    'toy': {
        'd_model': 32, 'd_kv': 8, 'd_ff': 64, 'num_layers': 2, 'num_decoder_layers': 2, 'num_heads': 4,
    },
}  # fmt: skip
_OPINIONS = ('great', 'bad', 'very slow', 'fresh', 'not good at all', 'cheap')
_TARGETS = ('the waiter', 'the screen', 'pasta', 'the battery', 'service', 'a keyboard')


def shared() -> Path:
    """The folder of real data; UserError where there is none."""
    folder = Path(os.environ.get('FSA_SHARED') or REPOSITORY.parent / 'shared')
    if not (folder / 'data').is_dir():
        raise UserError(f'no real data: {folder}/data does not exist (set FSA_SHARED)')
    return folder


def texts(tiny: bool) -> list[tuple[str, str]]:
    """(review, teacher's answer): real ones, or a few dozen that are made here."""
    if not tiny:
        corpus = shared() / 'data' / 'corpus'
        return [(g.input, g.output) for g in read_generations(corpus, validation_fraction=0.0)]
    random = np.random.default_rng(0)
    made = []
    for _ in range(48):
        said = [(random.choice(_TARGETS), random.choice(_OPINIONS)) for _ in range(3)]
        review = ', and '.join(f'{target} was {opinion}' for target, opinion in said)
        answer = '\n\n'.join(f'Opinion Target: {t}\nSentiment: {o}' for t, o in said)
        made.append((review, answer))
    return made


def vocabulary_path(tiny: bool, folder: Path) -> Path:
    """T5's vocabulary, or one that is trained in `folder` on the made texts."""
    if not tiny:
        return shared() / 'data' / 't5'
    labels = [f'pasta | {polarity} ;' for polarity in POLARITIES]
    made = [*labels, *(text for pair in texts(True) for text in pair)]
    train_vocabulary(made, 120, folder / 'pieces')
    return folder / 'pieces'


def pack(folder: Path, vocabulary: Vocabulary, splits: dict[str, Sequence[Any]]) -> PackedFolder:
    """A packed folder of pairs of ids by split, as `fsa pack` leaves it, made without SeqIO."""
    with manifest.output(folder, 'pack', [PackConfig()]) as out:
        vocabulary.save(out.folder / 'vocabulary')
        for split, pairs in splits.items():
            where = out.folder / TASK / split
            with StoreWriter(where, vocabulary, task=TASK, split=split, limits=LIMITS) as writer:
                writer.write(TokenBatch.from_pairs(pairs, [str(i) for i in range(len(pairs))]))
    return PackedFolder(folder)


def encode(vocabulary: Vocabulary, pairs: Sequence[tuple[str, str]]) -> list[tuple[Any, Any]]:
    """Pairs of ids, `</s>` included, not cut."""
    sides = [vocabulary.encode_batch([pair[side] for pair in pairs]) for side in (0, 1)]
    return [([*x, vocabulary.eos_id], [*y, vocabulary.eos_id]) for x, y in zip(*sides)]


def first_rows(store: TokenStore, config: RowsConfig) -> list[tuple[list[int], list[int]]]:
    """The pairs in the first step of `config`: whole rows out of the middle of an epoch.

    Packing just these pairs would leave a last row that is part empty, which no long run sees.
    """
    plan = Rows({TASK: store}, config).plan(0)
    chosen = plan.pairs[: plan.starts[config.batch_size]]
    return [(store.pair(i)[0].tolist(), store.pair(i)[1].tolist()) for i in chosen]


def packed_rows(tiny: bool, batch: int, microbatches: int) -> RowsConfig:
    """Rows of the default shape: some 3 real pairs in each."""
    shape = {'encoder_length': 96, 'decoder_length': 256} if tiny else {}
    return RowsConfig(batch_size=batch, microbatches=microbatches, **shape)


def pairs_a_step(config: RowsConfig, fill: Fill) -> float:
    """Real pairs in a step of rows with this fill, the mean over an epoch."""
    return config.batch_size * fill.pairs / fill.rows


def pair_rows(pairs: int) -> RowsConfig:
    """One pair a row, all of them in one step; microbatches alike, of at most 20 as published."""
    microbatches = -(-pairs // 20)
    size = -(-pairs // microbatches) * microbatches
    return RowsConfig(
        layout='pairs',
        encoder_length=0,
        decoder_length=0,
        batch_size=size,
        microbatches=microbatches,
    )

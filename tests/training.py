"""A small packed folder and small configs, for the tests that train."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fsa_jax import configs as c
from fsa_jax import manifest, stages
from fsa_jax.data.store import TokenBatch
from fsa_jax.data.store_writer import StoreWriter
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.model.t5 import Params, init_params
from fsa_jax.records import Example
from fsa_jax.train.checkpoint import write_model

TARGETS = ('food', 'service', 'screen', 'battery life', 'waiter', 'pasta')
OPINIONS = {'great': 'positive', 'very good': 'positive', 'slow': 'negative', 'bad': 'negative'}

STUDENT: dict[str, Any] = {
    'd_model': 32,
    'd_kv': 16,
    'd_ff': 64,
    'num_layers': 2,
    'num_decoder_layers': 2,
    'num_heads': 2,
    'vocab_size': 304,
}

SMALLEST: dict[str, Any] = {
    'd_model': 16,
    'd_kv': 8,
    'd_ff': 32,
    'num_layers': 1,
    'num_decoder_layers': 1,
    'num_heads': 2,
}


def spiece(folder: Path) -> Path:
    """A spiece.model of some 160 pieces with T5's special ids (pad 0, </s> 1, <unk> 2), made here."""
    import sentencepiece

    text = 'the food was great but service slow screen battery life is very good bad waiter pasta'
    words = text.split()
    lines = [
        ' '.join(words[(i * k + k) % len(words)] for k in range(1, 9)) + f' | positive ; {i}'
        for i in range(400)
    ]
    (folder / 'text.txt').write_text('\n'.join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / 'text.txt'),
        model_prefix=str(folder / 'spiece'),
        vocab_size=160,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / 'spiece.model'


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """(sentence, target): each sentence says two things."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        said = [(random.choice(TARGETS), random.choice(list(OPINIONS))) for _ in range(2)]
        text = ' but '.join(f'the {target} was {opinion}' for target, opinion in said)
        drawn.append((text, ' ; '.join(f'{target} | {OPINIONS[o]}' for target, o in said)))
    return drawn


def pack(
    folder: Path,
    spiece: Path,
    tasks: dict[str, str] | None = None,
    train: int = 96,
    not_validated: tuple[str, ...] = (),
) -> Path:
    """A packed folder with splits train and validation of each task {name: metric}; some have no
    validation."""
    vocabulary = Vocabulary(spiece)
    with manifest.output(folder, 'pack', []) as out:
        vocabulary.save(out.folder / 'vocabulary')
        for number, (task, metric) in enumerate((tasks or {'t': 'atsa'}).items()):
            counts = {'train': train} | ({} if task in not_validated else {'validation': 16})
            for split, count in counts.items():
                texts = sentences(count, seed=10 * number + len(split))
                pairs = [
                    ([*vocabulary.encode(text), 1], [*vocabulary.encode(target), 1])
                    for text, target in texts
                ]
                examples = [
                    Example(str(i), x, y, task=task, metric=metric, sentence=x, gold=y)
                    for i, (x, y) in enumerate(texts)
                ]
                store = out.folder / task / split
                with StoreWriter(store, vocabulary, task=task, split=split, metric=metric) as w:
                    ids = [str(i) for i in range(count)]
                    w.write(TokenBatch.from_pairs(pairs, ids, examples if metric else None))
    return folder


def noise(
    folder: Path, vocabulary: Vocabulary, *, seed: int = 0, step: int = 0
) -> tuple[c.T5Config, Params]:
    """A model folder with random weights: its texts are noise, but each input has its own."""
    config = c.T5Config(vocab_size=vocabulary.size, **SMALLEST)
    params = jax.tree.map(lambda x: 2 * x, init_params(config, jax.random.key(seed)))
    write_model(folder, config, vocabulary, params, step=step)
    return config, params


def configs(packed: Path, cache: Path, **knobs: Any) -> tuple[c.Config, ...]:
    """The configs of the train stage; `knobs` are fields of any of them by their name."""
    fields: dict[type[c.Config], dict[str, Any]] = {
        c.TrainConfig: {
            'data': str(packed),
            'steps': 10,
            'log_every': 1,
            'evaluate_examples': 8,
            'compilation_cache': str(cache),
        },
        c.T5Config: dict(STUDENT),
        c.RowsConfig: {'layout': 'pairs', 'batch_size': 16, 'buckets': 1},
        c.OptimizerConfig: {'learning_rate': 3e-3},
        c.MeshConfig: {},
        c.DecodeConfig: {'max_new_tokens': 24},
    }
    for name, value in knobs.items():
        kind = next(kind for kind in fields if name in kind.__dataclass_fields__)
        fields[kind][name] = value
    return tuple(kind(**values) for kind, values in fields.items())


def train(packed: Path, output: Path, cache: Path, **knobs: Any) -> Path:
    """Runs the train stage in this process."""
    stages.run('train', configs(packed, cache, **knobs), output)
    return output


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl without what a clock measured."""
    clocks = ('goodput/', 'mfu')
    return [
        {k: v for k, v in row.items() if 'per_second' not in k and not k.startswith(clocks)}
        for row in rows
    ]


def events(content: bytes) -> Iterator[Any]:
    """The TensorBoard events of a TFRecord file: length (8 bytes), crc (4), data, crc (4)."""
    from tensorboardX.proto.event_pb2 import Event

    while content:
        (length,) = struct.unpack('<Q', content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]

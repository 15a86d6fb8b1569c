"""Zero-shot scoring: continuations a second, all of a text in one pass, against a loop over them in torch.

    python -m tests.bench.zero_shot [--model=small|base] [--tiny]

Real reviews, the five levels after a forced analysis, A B A B in one process, the same (random) weights.
The torch side runs the model once for every level, in batches of as many reviews, padded to the
longest of the batch, reviews of like length together.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fsa_jax.configs import T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.records import SENTIMENT_LEVELS
from fsa_jax.student.sentiment import WHOLE, opening
from tests.bench import data, harness

BATCH = 32


def main() -> None:
    parser = harness.arguments(__doc__ or '')
    parser.add_argument('--model', choices=('small', 'base'), default='small')
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Both sides, then the report."""
    texts = 4 if flags.tiny else BATCH
    rounds = flags.rounds or (1 if flags.tiny else 5)
    vocabulary = Vocabulary(data.vocabulary_path(flags.tiny, folder))
    encoded = vocabulary.encode_batch([text for text, _ in data.texts(flags.tiny)[:texts]])
    inputs = [[*ids[:127], vocabulary.eos_id] for ids in encoded]
    prefix = vocabulary.encode(opening(*WHOLE))
    labels = [vocabulary.encode(level) for level in SENTIMENT_LEVELS]
    name = 'toy' if flags.tiny else flags.model
    config = T5Config(**data.MODELS[name], vocab_size=vocabulary.size, dropout_rate=0.0)
    sides = make_sides(config, folder / 'export', inputs, prefix, labels)
    found: dict[str, np.ndarray] = {}

    def keep(name: str, run: Callable[[], np.ndarray]) -> Callable[[], None]:
        return lambda: found.update({name: run()})

    seconds = harness.alternate({name: keep(name, run) for name, run in sides.items()}, rounds)
    report = harness.Report(
        'zero_shot',
        {
            'model': f'T5 v1.0 {name}, {vocabulary.size} rows, random weights, the same on both sides',
            'inputs': f'{len(inputs)} reviews, {sum(map(len, inputs))} ids, at most 128 each',
            'continuations': f'{len(labels)} levels after {len(prefix)} ids',
            'batch': BATCH,
            'threads': harness.CORES,
            'rounds': rounds,
        },
    )
    for name, samples in seconds.items():
        speeds = [len(inputs) * len(labels) / s for s in samples]
        report.rows.append(harness.Row(name, 'sequences/s', speeds, 'float32', harness.allocator()))
    if 'torch' in found:
        report.ratio('ours / torch', 'ours', 'torch', at_least=3.0)
        error = float(np.abs(found['ours'] - found['torch']).max())
        report.notes.append(f'largest difference of a log-likelihood: {error:.1e} nats')
    else:
        report.notes.append('torch or transformers is not installed: it is not measured')
    report.device = harness.device()
    report.publish(flags.output)


def make_sides(
    config: T5Config, folder: Path, inputs, prefix, labels
) -> dict[str, Callable[[], np.ndarray]]:
    """'torch' and 'ours': log-likelihoods [N, C]."""
    import jax

    from fsa_jax.decode.likelihood import LikelihoodScorer
    from fsa_jax.hf.export import save_pretrained
    from fsa_jax.model.t5 import init_params

    if jax.default_backend() != 'cpu':
        jax.config.update('jax_default_matmul_precision', 'float32')  # as torch multiplies there
    params: Any = jax.jit(init_params, static_argnums=0)(config, jax.random.key(0))
    save_pretrained(folder, config, params)
    sides: dict[str, Callable[[], np.ndarray]] = {}
    if harness.has_torch():
        from tests.bench import torch_side

        sides['torch'] = torch_side.log_likelihoods(folder, inputs, prefix, labels, BATCH)
    scorer = LikelihoodScorer(config, BATCH)
    prefixes = [prefix] * len(inputs)
    sides['ours'] = lambda: scorer.score(params, inputs, prefixes, labels)
    return sides


if __name__ == '__main__':
    harness.main(main)

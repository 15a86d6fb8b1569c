"""Zero-shot scoring: continuations a second, all of a text in one pass, against a loop over them in torch.

    python -m tests.bench.zero_shot [--model=small|base] [--tiny]

Real reviews, the five levels after a forced analysis, A B A B in one process, the same (random) weights.
The torch side runs the model once for every level, in batches of as many reviews, padded to the
longest of the batch, reviews of like length together.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fsa_jax.decode.likelihood import LikelihoodScorer
from fsa_jax.records import SENTIMENT_LEVELS
from fsa_jax.student.sentiment import WHOLE, opening
from tests.bench import data, harness, random_student
from tests.bench.random_student import RandomStudent

BATCH = 128


def main() -> None:
    random_student.main(__doc__ or '', measure)


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Both sides, then the report."""
    student = RandomStudent(flags, folder)
    texts = 4 if flags.tiny else BATCH
    vocabulary, rounds = student.vocabulary, student.rounds
    encoded = vocabulary.encode_batch([text for text, _ in data.texts(flags.tiny)[:texts]])
    inputs = [[*ids[:127], vocabulary.eos_id] for ids in encoded]
    prefix = vocabulary.encode(opening(*WHOLE))
    labels = [vocabulary.encode(level) for level in SENTIMENT_LEVELS]
    sides = make_sides(student, folder / 'export', inputs, prefix, labels)
    found: dict[str, np.ndarray] = {}

    def keep(name: str, run: Callable[[], np.ndarray]) -> Callable[[], None]:
        return lambda: found.update({name: run()})

    seconds = harness.alternate({name: keep(name, run) for name, run in sides.items()}, rounds)
    report = harness.Report(
        'zero_shot',
        {
            'model': f'{student.name}, the same on both sides',
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
    student: RandomStudent, folder: Path, inputs, prefix, labels
) -> dict[str, Callable[[], np.ndarray]]:
    """'torch' and 'ours': log-likelihoods [N, C]."""
    student.export(folder)
    sides: dict[str, Callable[[], np.ndarray]] = {}
    if harness.has_torch():
        from tests.bench import torch_side

        sides['torch'] = torch_side.log_likelihoods(folder, inputs, prefix, labels, BATCH)
    scorer = LikelihoodScorer(student.config, BATCH)
    prefixes = [prefix] * len(inputs)
    sides['ours'] = lambda: scorer.score(student.params, inputs, prefixes, labels)
    return sides


if __name__ == '__main__':
    harness.main(main)

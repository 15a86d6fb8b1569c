"""Constrained decoding: what it costs beside free decoding, the tables that the host makes included.

    python -m tests.bench.constrained [--model=small|base] [--tiny]

64 sentences, A B A B in one process, the same random weights. Both sides generate just as many ids:
`</s>` is an ordinary id to the free side, and the constrained side's grammar offers it nowhere.
"""

import argparse
from pathlib import Path

import numpy as np

from fsa_jax.configs import DecodeConfig
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.decode import Generator
from fsa_jax.decode.grammar import Grammar
from tests.bench import data, harness, random_student
from tests.bench.random_student import RandomStudent

WORDS = 24  # of each sentence: benchmark sentences have some 18


def main() -> None:
    random_student.main(__doc__ or '', measure)


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Free and constrained, then the report."""
    student = RandomStudent(flags, folder)
    batch, length = (4, 8) if flags.tiny else (64, 48)
    vocabulary, params = student.vocabulary, student.params
    texts = [' '.join(text.split()[:WORDS]) for text, _ in data.texts(flags.tiny)[:batch]]
    inputs = [[*ids, vocabulary.eos_id] for ids in vocabulary.encode_batch(texts)]
    generator = Generator(student.endless, DecodeConfig(batch_size=batch))

    def endless_automata():
        return [_without_end(one) for one in Grammar(vocabulary).of_sentences(texts)[0]]

    sides = {
        'free': lambda: generator.generate(params, inputs, length),
        'constrained': lambda: generator.generate(
            params, inputs, length, automata=endless_automata()
        ),
    }
    for run in sides.values():
        assert all(len(ids) == length for ids in run())
    seconds = harness.alternate(sides, student.rounds)
    report = harness.Report(
        'constrained',
        {
            'model': student.name,
            'inputs': f'{batch} texts of at most {WORDS} words, {sum(map(len, inputs))} ids',
            'generated': f'{length} ids each on both sides',
            'edges': int(np.mean([len(one.source) for one in endless_automata()])),
            'threads': harness.CORES,
            'rounds': student.rounds,
        },
    )
    for name, samples in seconds.items():
        speeds = [batch * length / s for s in samples]
        report.rows.append(harness.Row(name, 'ids/s', speeds, 'float32', harness.allocator()))
    report.ratio('constrained / free', 'constrained', 'free', at_least=0.7)
    report.device = harness.device()
    report.publish(flags.output)


def _without_end(automaton):
    """The automaton whose texts go on for ever: no `</s>`, and no room to keep for it."""
    kept = automaton.token != Vocabulary.eos_id
    return type(automaton)(*(table[kept] for table in automaton._replace(need=automaton.need * 0)))


if __name__ == '__main__':
    harness.main(main)

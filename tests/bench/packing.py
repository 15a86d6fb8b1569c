"""Packing: text to store against a bare tokeniser loop, and packed rows against SeqIO's packer.

    python -m tests.bench.packing [--tiny]

All on one core, in one process, A B A B, on the same real answers, repeated to 20,000 pairs (SeqIO's
packer: some thousand of them). `fsa pack` reads JSON, encodes, cuts, writes, and hashes what it wrote; the
bare loop encodes the texts, cut at newlines, and keeps nothing.
"""

import argparse
import cProfile
import json
import os
import pstats
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fsa_jax.configs import PackConfig, RowsConfig, TrainData, VocabularyConfig
from fsa_jax.data.rows import Rows
from fsa_jax.data.store import PackedFolder
from tests.bench import data, harness

NEWLINE_ID = 32100
TASKS = ('sentiment_analysis_corpus', 'sentiment_rewriting_corpus')
SEQIO_PAIRS = 2000


def main() -> None:
    flags = harness.arguments(__doc__ or '').parse_args()
    if not flags.tiny:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, for all threads
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Times all sides in turn, then the report."""
    rounds = flags.rounds or (1 if flags.tiny else 3)
    count = 96 if flags.tiny else 20_000
    few = 48 if flags.tiny else SEQIO_PAIRS
    pairs = data.texts(flags.tiny)
    pairs = (pairs * -(-count // len(pairs)))[:count]
    write_corpus(folder / 'many', pairs)
    write_corpus(folder / 'few', pairs[:few])
    spiece = data.vocabulary_path(flags.tiny, folder) / 'spiece.model'
    packing = Packing(folder, spiece)
    work: dict[str, tuple[int, Callable[[], Any]]] = {
        'text to store': (count, lambda: packing.to_store('many')),
        'bare tokeniser, a text a call': (count, lambda: bare(spiece, pairs)),
        'bare tokeniser, 1,024 pairs a call': (count, lambda: bare_batched(spiece, pairs)),
        'store to packed rows': (count, lambda: packing.to_rows('many')),
        'text to packed rows': (few, lambda: (packing.to_store('few'), packing.to_rows('few'))),
        "text to packed rows, SeqIO's packer": (few, lambda: packing.seqio('few')),
    }
    seconds = harness.alternate({name: run for name, (_, run) in work.items()}, rounds)
    report = harness.Report(
        'packing',
        {
            'pairs': f'{count} ({few} where SeqIO packs): {len(data.texts(flags.tiny))} answers, repeated',
            'lengths': f'at most {data.LIMITS[0]} input and {data.LIMITS[1]} target ids',
            'rows': f'{packing.rows.encoder_length} + {packing.rows.decoder_length} slots',
            'processes': 1,
            'threads': 1,
            'rounds': rounds,
        },
    )
    for name, (number, _) in work.items():
        samples = [number / s for s in seconds[name]]
        report.rows.append(harness.Row(name, 'pairs/s', samples, '', harness.allocator()))
    store = report.row('text to store').median
    report.goals.append(harness.Goal('text to store, pairs/s a core', store, at_least=6000))
    for how in ('a text a call', '1,024 pairs a call'):
        under = f'bare tokeniser, {how}'
        report.ratio(f'text to store / {under}', 'text to store', under, at_least=0.85)
    report.ratio(
        "text to packed rows / SeqIO's packer",
        'text to packed rows',
        "text to packed rows, SeqIO's packer",
    )
    if report.missed:
        report.profile = own_time(lambda: packing.to_store('many'))
    report.publish(flags.output, devices=('cpu',))


def own_time(run: Callable[[], Any]) -> dict[str, Any]:
    """Seconds that the ten costliest functions of `run` took themselves, by name."""
    profile = cProfile.Profile()
    profile.runcall(run)
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    costliest = sorted(stats.items(), key=lambda item: -item[1][2])[:10]
    return {
        f'{Path(file).name}:{line} {name}': round(values[2], 3)
        for (file, line, name), values in costliest
    }


def write_corpus(folder: Path, pairs: list[tuple[str, str]]) -> None:
    """JSON lines in the layout of the published corpus: a folder for each kind of answer."""
    lines: dict[str, list[str]] = {'analysis': [], 'rewrite': []}
    for number, (review, answer) in enumerate(pairs):
        record = {'ID': number, 'Text': review, 'Overall': 3, 'mixtral_response': answer}
        kind = 'analysis' if answer.startswith('Opinion Target 1:') else 'rewrite'
        lines[kind].append(json.dumps(record, ensure_ascii=False) + '\n')
    for kind, written in lines.items():
        path = folder / kind / 'restaurant' / 'answers.json'
        path.parent.mkdir(parents=True)
        path.write_text(''.join(written))


class Packing:
    """Our stage and SeqIO's packer over the corpus files of `folder`."""

    def __init__(self, folder: Path, spiece: Path):
        self.folder, self.spiece = folder, spiece
        self.rows = RowsConfig(batch_size=16)

    def config(self, name: str) -> PackConfig:
        return PackConfig(
            tasks=TASKS,
            splits=('train',),
            corpus=str(self.folder / name),
            corpus_validation_fraction=0.0,
            input_length=data.LIMITS[0],
            target_length=data.LIMITS[1],
        )

    def to_store(self, name: str) -> None:
        """The stage `pack`, in this process."""
        from fsa_jax import stages

        configs = (self.config(name), VocabularyConfig(path=str(self.spiece)), TrainData())
        stages.run('pack', configs, self.folder / f'{name}.packed', overwrite=True)

    def to_rows(self, name: str) -> None:
        """Plans and makes every batch of an epoch."""
        stores = PackedFolder(self.folder / f'{name}.packed').stores('train')
        rows = Rows(stores, self.rows.replace(rates={task: len(s) for task, s in stores.items()}))
        for step in range(rows.steps_per_epoch(0)):
            rows.batch_at(step)

    def seqio(self, name: str) -> None:
        """The same tasks through SeqIO's pipeline and its packing feature converter."""
        import seqio

        for task in self._tasks(name):
            lengths = {'inputs': data.LIMITS[0], 'targets': data.LIMITS[1]}
            dataset = task.get_dataset(lengths, split='train', shuffle=False)
            shape = {'inputs': self.rows.encoder_length, 'targets': self.rows.decoder_length}
            packed = seqio.EncDecFeatureConverter(pack=True)(dataset, shape)
            for _ in packed.batch(self.rows.batch_size).as_numpy_iterator():
                pass

    def _tasks(self, name: str) -> Iterator[Any]:
        from fsa_jax.data.seqio_bridge import resolve
        from fsa_jax.data.vocabulary import Vocabulary

        vocabulary = Vocabulary(self.spiece)
        for source in resolve(self.config(name), vocabulary, TrainData()):
            yield source.task


def bare(spiece: Path, pairs: list[tuple[str, str]]) -> None:
    """SentencePiece over every part of every text, joined by [NL], as a loop would have it."""
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(spiece))
    for pair in pairs:
        for text in pair:
            ids: list[int] = []
            for number, part in enumerate(text.split('\n')):
                if number:
                    ids.append(NEWLINE_ID)
                ids += pieces.encode(part)
            ids.append(1)


def bare_batched(spiece: Path, pairs: list[tuple[str, str]]) -> None:
    """The same, 1,024 pairs a call into SentencePiece: the fastest loop known to us."""
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(spiece))
    for first in range(0, len(pairs), 1024):
        split = [text.split('\n') for pair in pairs[first : first + 1024] for text in pair]
        encoded = iter(pieces.encode([part for parts in split for part in parts], num_threads=1))
        for parts in split:
            ids = list(next(encoded))
            for _ in parts[1:]:
                ids.append(NEWLINE_ID)
                ids += next(encoded)
            ids.append(1)


if __name__ == '__main__':
    harness.main(main)

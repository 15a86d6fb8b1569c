"""The stage `pack`: SeqIO tasks, or your own labels, tokenised once into token stores.

Every worker process reads its share of each split: pair i goes to process i % n. The shares are then
dealt back in turn, so the bytes are the same whatever the number of processes.
"""

import dataclasses
import functools
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from fsa_jax import manifest, progress, stages
from fsa_jax.artifacts import VOCABULARY
from fsa_jax.configs import PackConfig, TrainData, VocabularyConfig
from fsa_jax.data import overlap
from fsa_jax.data.store import Header, TokenBatch, TokenStore
from fsa_jax.data.store_writer import StoreWriter, interleave
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError

_SHARES = '.shares'
_POLL_SECONDS = 0.5
_SHARED: dict[str, Any] = {}  # of a worker process, with its parent: pairs written, and stop


class TaskSource(Protocol):
    """A task as pairs of token ids; fsa_jax.data.seqio_bridge makes them of SeqIO tasks."""

    name: str
    splits: Sequence[str]
    rate: float
    metric: str

    def batches(
        self, split: str, *, seed: int, shard: int = 0, num_shards: int = 1, epochs: int = 1
    ) -> Iterator[TokenBatch]:
        """The pairs of `epochs` passes; pair i of them all together is in shard i % num_shards."""

    def is_random(self, split: str) -> bool:
        """Whether the pairs depend on the seed; where they do not, `epochs` is without effect."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What each worker process needs; it resolves the sources itself, as they cannot be sent."""

    config: PackConfig
    vocabulary: VocabularyConfig
    sources: Callable[[], list[TaskSource]]


def run(
    out: manifest.Output, config: PackConfig, vocabulary: VocabularyConfig, labels: TrainData
) -> None:
    """Writes `<task>/<split>/` stores and `vocabulary/`; counts, and says, what was cut."""
    for name, path in (
        ('VocabularyConfig.path', vocabulary.path),
        ('PackConfig.data_dir', config.data_dir),
        ('PackConfig.corpus', config.corpus),
        ('TrainData.path', labels.path),
        ('TrainData.validation_path', labels.validation_path),
        ('TrainData.test_path', labels.test_path),
    ):
        if path:
            out.read(name, path)
    Vocabulary.from_config(vocabulary).save(out.folder / VOCABULARY)
    sources = functools.partial(_resolve, config, vocabulary, labels)
    pack(out, Job(config, vocabulary, sources))


def _resolve(config, vocabulary, labels) -> list[TaskSource]:
    resolve = stages.load('fsa_jax.data.seqio_bridge:resolve')
    return resolve(config, Vocabulary.from_config(vocabulary), labels)


def pack(out: manifest.Output, job: Job) -> None:
    """Packs the sources of a job with PackConfig.processes worker processes."""
    processes = job.config.processes
    with progress.track('pack', None, unit='pairs') as bar:
        if processes == 1:
            stores = _write_share(job, out.folder, 0, 1, bar.update)
        else:
            stores = _write_shares(job, out.folder / _SHARES, processes, bar)
    for name in stores:
        if processes > 1:
            shares = [out.folder / _SHARES / str(i) / name for i in range(processes)]
            interleave(shares, out.folder / name)
        _report(out, job.config, TokenStore.open(out.folder / name).header)
    _report_shared(out, [TokenStore.open(out.folder / name) for name in stores])
    shutil.rmtree(out.folder / _SHARES, ignore_errors=True)


def _write_share(
    job: Job, folder: Path, shard: int, num_shards: int, wrote: Callable[[int], Any]
) -> list[str]:
    """Writes one share of every split; returns the stores as '<task>/<split>'."""
    config, vocabulary = job.config, Vocabulary.from_config(job.vocabulary)
    names = []
    for source in job.sources():
        if source.name == VOCABULARY:
            raise UserError(
                f'a task cannot be named {VOCABULARY!r}: that folder holds the vocabulary'
            )
        for split in source.splits:
            names.append(f'{source.name}/{split}')
            writer = StoreWriter(
                folder / names[-1],
                vocabulary,
                task=source.name,
                split=split,
                metric=source.metric,
                rate=source.rate,
                limits=(config.input_length, config.target_length),
                frozen_passes=config.materialised_epochs if source.is_random(split) else 0,
            )
            batches = source.batches(
                split,
                seed=config.seed,
                shard=shard,
                num_shards=num_shards,
                epochs=config.materialised_epochs,
            )
            with writer:
                for batch in batches:
                    wrote(writer.write(batch))
    return names


def _write_shares(job: Job, folder: Path, processes: int, bar: progress.Bar) -> list[str]:
    """Every share in a process of its own; the first error stops them all."""
    # TensorFlow does not survive a fork
    context = multiprocessing.get_context('spawn')
    written, stop = context.Value('q', 0), context.Event()
    shown = 0
    with ProcessPoolExecutor(
        processes, context, initializer=_start_worker, initargs=(written, stop)
    ) as pool:
        shares = [pool.submit(_work, job, folder / str(i), i, processes) for i in range(processes)]
        try:
            waiting: Any = shares
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_SECONDS)
                for share in done:
                    share.result()
                bar.update(written.value - shown)
                shown = written.value
        except BrokenProcessPool:
            raise UserError(
                'a worker process of pack was killed (out of memory?); lower PackConfig.processes'
            ) from None
        finally:
            stop.set()
    return shares[0].result()


def _start_worker(written, stop) -> None:
    _SHARED.update(written=written, stop=stop)


def _work(job: Job, folder: Path, shard: int, num_shards: int) -> list[str]:
    def wrote(pairs: int) -> None:
        if _SHARED['stop'].is_set():
            raise InterruptedError('another worker failed')
        with _SHARED['written'].get_lock():
            _SHARED['written'].value += pairs

    return _write_share(job, folder, shard, num_shards, wrote)


def _report(out: manifest.Output, config: PackConfig, header: Header) -> None:
    """Counts of one store, to the manifest and to the user."""
    cut = dict(zip(('inputs', 'targets'), header.cut))
    out.counts.setdefault('tasks', {}).setdefault(header.task, {})[header.split] = {
        'pairs': header.pairs,
        'tokens': header.tokens,
        'longest': header.longest,
        'cut': cut,
    }
    out.counts['pairs'] = out.counts.get('pairs', 0) + header.pairs
    shares = [
        f'{count:,} {side} ({count / header.pairs:.1%}) cut at {limit} ids (PackConfig.{knob})'
        for (side, count), limit, knob in zip(
            cut.items(),
            (config.input_length, config.target_length),
            ('input_length', 'target_length'),
        )
        if count
    ]
    said = '; '.join(shares) or 'nothing cut'
    progress.say(f'{header.task}/{header.split}: {header.pairs:,} pairs, {said}')


def _report_shared(out: manifest.Output, stores: Sequence[TokenStore]) -> None:
    """Inputs that two splits share, to the manifest; those of unlike splits to the user too."""
    shared = out.counts['shared_inputs'] = overlap.shared_inputs(stores)
    for name, others in shared.items():
        if line := overlap.leaks(name, others):
            progress.say(line)

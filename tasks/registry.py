"""Everything of this package, registered at once."""

from pathlib import Path

import seqio

from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError, nearest
from tasks import benchmark, corpus
from tasks.tfds_builders import FsaBenchmark, SentimentUnderstandingCorpus
from tasks.vocabulary import features


def registered() -> bool:
    """Whether `register` ran in this process."""
    return corpus.MIXTURE in seqio.MixtureRegistry.names()


def register(
    vocabulary: Vocabulary | str | Path | None,
    data_dir: str,
    corpus_path: str,
    target_order: str,
    rates: dict[str, float],
    validation_fraction: float,
) -> None:
    """See tasks.register_all."""
    for name in rates:
        if name not in corpus.TASKS:
            raise UserError(
                f'no task {name!r} in {corpus.MIXTURE}; expected rates by '
                f'{", ".join(corpus.TASKS)}{nearest(name, corpus.TASKS)}'
            )
    FsaBenchmark.source = data_dir
    SentimentUnderstandingCorpus.source = corpus_path or (data_dir and f'{data_dir}/corpus')
    SentimentUnderstandingCorpus.validation_fraction = validation_fraction
    shared = features(vocabulary)
    benchmark.register(shared, data_dir, target_order)
    corpus.register(shared, data_dir, corpus_path, rates, validation_fraction)

"""The sentiment-understanding corpus: a review in, the teacher's analysis or rewriting out."""

from collections.abc import Iterator

import seqio

from fsa_jax.data import corpus_files
from tasks.benchmark import PREPROCESSORS
from tasks.source import Record, RecordSource

TASKS = {'sentiment_analysis_corpus': 'analysis', 'sentiment_rewriting_corpus': 'rewriting'}
MIXTURE = 'sentiment_understanding'


def register(
    features: dict[str, seqio.Feature],
    data_dir: str,
    corpus: str,
    rates: dict[str, float],
    validation_fraction: float,
) -> None:
    """Registers a task for each prompt kind, and the mixture of both."""
    seqio.MixtureRegistry.remove(MIXTURE)
    for name, kind in TASKS.items():

        def read(split: str, kind: str = kind) -> Iterator[Record]:
            root = corpus_files.corpus_root(corpus, data_dir)
            for g in corpus_files.read_generations(root, split, kind, validation_fraction):
                yield {'id': g.id, 'inputs': g.input, 'targets': g.output}

        def splits() -> list[str]:
            return corpus_files.split_names(
                corpus_files.corpus_root(corpus, data_dir), validation_fraction
            )

        seqio.TaskRegistry.remove(name)
        seqio.TaskRegistry.add(
            name,
            source=RecordSource(read, splits),
            preprocessors=PREPROCESSORS,
            output_features=features,
        )
    seqio.MixtureRegistry.add(MIXTURE, [(name, rates.get(name, 1.0)) for name in TASKS])

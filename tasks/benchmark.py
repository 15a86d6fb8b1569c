"""The FSA benchmark tasks: a sentence in, its (category or term, polarity) pairs out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import seqio

from fsa_jax.data import benchmark_files
from fsa_jax.evaluate import f1
from fsa_jax.records import Aspect, Sentence
from fsa_jax.text_format import acsa_target, atsa_target
from tasks.source import Record, RecordSource

FIELDS = ('id', 'inputs', 'targets', 'sentence', 'subsets')
PREPROCESSORS = [seqio.preprocessors.tokenize, seqio.preprocessors.append_eos]


class Postprocess:
    """Keeps the sentence and the gold string of a target, for scoring.

    `metric` is 'acsa' or 'atsa', with polarities where they are a user's own; `fsa pack` reads it.
    """

    def __init__(self, metric: str):
        self.metric = metric

    def __call__(self, text: str, example: dict[str, Any], is_target: bool = False) -> Any:
        if not is_target:
            return text
        # SeqIO hands over the target as it was written, before it was tokenised
        return {'gold': text, 'sentence': example['sentence'].decode()}


def metric_fn(metric: str) -> Callable[[Sequence[dict], Sequence[str]], dict[str, float]]:
    """Micro F1, as published and strict, as SeqIO calls it."""

    def micro_f1(targets, predictions):
        golds = [target['gold'] for target in targets]
        sentences = [target['sentence'] for target in targets]
        score = f1.score(metric, predictions, golds, sentences)
        names = ('precision', 'recall', 'f1')
        return {p + name: getattr(score, p + name) for p in ('', 'strict_') for name in names}

    return micro_f1


def target_of(task: str, aspects: Iterable[Aspect], order: str = 'released') -> str:
    """The target string of a sentence's aspects."""
    return acsa_target(aspects) if task == 'acsa' else atsa_target(aspects, order)  # type: ignore[arg-type]


def to_record(sentence: Sentence, task: str, order: str, subsets: Iterable[str]) -> Record:
    """The text of one example: the raw sentence, no prefix, and its target."""
    return {
        'id': sentence.id,
        'inputs': sentence.sentence,
        'targets': target_of(task, sentence.aspects, order),
        'sentence': sentence.sentence,
        'subsets': ' '.join(subsets),
    }


def add(name: str, metric: str, source: RecordSource, features: dict[str, seqio.Feature]) -> None:
    """Registers a labelled task, in place of one of the same name."""
    seqio.TaskRegistry.remove(name)
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=PREPROCESSORS,
        output_features=features,
        postprocess_fn=Postprocess(metric),
        metric_fns=[metric_fn(metric)],
    )


def register(features: dict[str, seqio.Feature], data_dir: str, order: str) -> None:
    """Registers fsa_<task>_<dataset> for the four datasets, and for others under the data root."""
    for task, dataset in benchmark_files.datasets(data_dir):

        def read(split: str, dataset: str = dataset, task: str = task) -> Iterator[Record]:
            for sentence in benchmark_files.read_split(dataset, split, data_dir, task):
                yield to_record(sentence, task, order, benchmark_files.subsets(sentence))

        source = RecordSource(read, lambda: benchmark_files.SPLITS, FIELDS)
        add(f'fsa_{task}_{dataset}', task, source, features)

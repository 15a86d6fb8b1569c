"""A user's own labelled sentences as a task, without writing one."""

from collections.abc import Iterator

from fsa_jax.data import labels as labels_lib
from fsa_jax.data.vocabulary import Vocabulary
from tasks import benchmark
from tasks.source import Record, RecordSource
from tasks.vocabulary import features


def register(labels: labels_lib.Labels, vocabulary: Vocabulary | None, order: str) -> str:
    """Registers `labels` as the task 'user_labels', in place of an earlier one."""

    def read(split: str) -> Iterator[Record]:
        for sentence in labels.splits[split]:
            yield benchmark.to_record(sentence, labels.task, order, labels_lib.subsets(sentence))

    source = RecordSource(read, lambda: tuple(labels.splits), benchmark.FIELDS)
    benchmark.add(labels_lib.TASK, labels.metric, source, features(vocabulary))
    return labels_lib.TASK

"""A SeqIO data source over records that plain Python reads."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import seqio
import tensorflow as tf

Record = dict[str, str]
_CHUNK = 256  # records that cross from Python to TensorFlow at once


class RecordSource(seqio.DataSource):
    """Records of text, read anew for each dataset, in the reader's order.

    `read(split)` yields dicts with the keys `fields`; `splits()` names the splits. Both are called
    when data is asked for, so a task can be registered before its data is there.
    """

    def __init__(
        self,
        read: Callable[[str], Iterable[Record]],
        splits: Callable[[], Sequence[str]],
        fields: Sequence[str] = ('id', 'inputs', 'targets'),
    ):
        self._read = read
        self._list_splits = splits
        self._fields = tuple(fields)
        self._counts: dict[str, int] = {}
        super().__init__(splits=())

    @property
    def splits(self) -> Sequence[str]:
        return tuple(self._list_splits())

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        return [split]

    def num_input_examples(self, split: str) -> int:
        """Counted by reading the split, once."""
        if split not in self._counts:
            self._counts[split] = sum(1 for _ in self._read(split))
        return self._counts[split]

    def records(self, split: str) -> Iterator[Record]:
        """The records without TensorFlow."""
        return iter(self._read(split))

    def get_dataset(
        self,
        split: str = 'train',
        shuffle: bool = False,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
    ) -> tf.data.Dataset:
        """Dicts of scalar strings; record i belongs to shard i % num_shards. The task shuffles."""
        first, step = (shard_info.index, shard_info.num_shards) if shard_info else (0, 1)

        def chunks():
            records = itertools.islice(self._read(split), first, None, step)
            while chunk := list(itertools.islice(records, _CHUNK)):
                yield {name: [record[name] for record in chunk] for name in self._fields}

        signature = {name: tf.TensorSpec([None], tf.string) for name in self._fields}
        return tf.data.Dataset.from_generator(chunks, output_signature=signature).unbatch()

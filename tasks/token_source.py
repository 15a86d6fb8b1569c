"""One SeqIO task as batches of tokens, as SeqIO means it but unshuffled, uncut and fast.

Three ways lead to the same ids, and the first that holds is taken:

* a RecordSource and nothing before `tokenize` (our tasks): text straight out of Python, no tf.data;
* nothing but `append_eos` after `tokenize`: text out of tf.data, encoded here in batches;
* any other: the whole pipeline in tf.data.
"""

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from fsa_jax.data.store import TokenBatch, flat
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.records import Example
from tasks.source import Record, RecordSource
from tasks.storable import APPEND_EOS, FEATURES, Step, check_task
from tasks.vocabulary import SeqioVocabulary

BATCH = 1024
_TOKENIZE = (seqio.preprocessors.tokenize, seqio.preprocessors.tokenize_and_append_eos)
_EXTRAS = ('id', 'inputs_pretokenized', 'targets_pretokenized', 'sentence', 'subsets')
Ragged = tuple[np.ndarray, np.ndarray]  # tokens int32, row splits int64


class TaskSource:
    """One SeqIO task as token batches.

    `metric` names the scorer ('' for none), `rate` is the mixture's, `splits` are those to pack.
    """

    def __init__(
        self,
        task: seqio.Task,
        rate: float,
        vocabulary: Vocabulary,
        lengths: Mapping[str, int],
        splits: Sequence[str] = (),
    ):
        check_task(task, vocabulary, lengths)
        self.task = task
        self.name: str = task.name
        self.rate = rate
        self.metric: str = getattr(task.postprocessor, 'metric', '')
        self.splits = tuple(s for s in task.splits if not splits or s in splits)
        self._vocabulary = vocabulary
        self._lengths = {name: length for name, length in lengths.items() if length}
        self._random: dict[str, bool] = {}

    def batches(
        self, split: str, *, seed: int, shard: int = 0, num_shards: int = 1, epochs: int = 1
    ) -> Iterator[TokenBatch]:
        """The pairs of a split in order, `epochs` times if they are random: pass e has seed `seed + e`.

        Pair i of all passes together is in shard i % num_shards: taking from the shards in turn
        gives the same pairs for any number of them. Examples come with every split of a task that
        has a metric, and with all but 'train' of another.
        """
        if epochs > 1 and not self.is_random(split):
            epochs = 1
        numbers = itertools.count(shard, num_shards)
        for records, inputs, targets in self._pairs(split, seed, epochs, shard, num_shards):
            ids = [record.get('id') or f'{split}:{n}' for record, n in zip(records, numbers)]
            examples = None
            if self.metric or split != 'train':
                rows = zip(ids, records, _rows(inputs), _rows(targets))
                examples = [self._example(*row) for row in rows]
            yield TokenBatch(ids, *inputs, *targets, examples)

    def is_random(self, split: str) -> bool:
        """Whether another seed gives other tokens, as far as the first pairs tell."""
        if split not in self._random:
            one, other = (self._first_tokens(split, seed) for seed in (0, 1))
            self._random[split] = not all(map(np.array_equal, one, other))
        return self._random[split]

    def _first_tokens(self, split: str, seed: int) -> tuple[np.ndarray, ...]:
        if self._reads_python:
            return ()
        batch = next(self.batches(split, seed=seed), None)
        return () if batch is None else (batch.input_tokens, batch.target_tokens)

    def _example(self, id: str, record: Record, inputs: np.ndarray, targets: np.ndarray) -> Example:
        text, gold = (record.get(f, record.get(f'{f}_pretokenized')) for f in FEATURES)
        text = self._vocabulary.decode(inputs.tolist()) if text is None else text
        gold = self._vocabulary.decode(targets.tolist()) if gold is None else gold
        return Example(
            id=id,
            inputs=text,
            targets=gold,
            task=self.name,
            metric=self.metric,
            sentence=record.get('sentence', text),
            gold=gold,
            subsets=tuple(record.get('subsets', '').split()),
        )

    def _pairs(
        self, split: str, seed: int, epochs: int, shard: int, num_shards: int
    ) -> Iterator[tuple[list[Record], Ragged, Ragged]]:
        """(text of the records, inputs, targets) of a shard, BATCH pairs at a time."""
        if self._reads_python:
            passes = (self.task.source.records(split) for _ in range(epochs))
            chosen = itertools.islice(
                itertools.chain.from_iterable(passes), shard, None, num_shards
            )
            while records := list(itertools.islice(chosen, BATCH)):
                yield records, self._encode(records, 'inputs'), self._encode(records, 'targets')
            return
        with _errors_named(self.task, split):
            dataset, is_text = self._dataset(split, seed, epochs)
            for batch in _batches(dataset.shard(num_shards, shard)):
                records = _records(batch)
                if is_text:
                    yield records, self._encode(records, 'inputs'), self._encode(records, 'targets')
                else:
                    yield records, _ragged(batch['inputs']), _ragged(batch['targets'])

    def _dataset(self, split: str, seed: int, epochs: int) -> tuple[tf.data.Dataset, bool]:
        """All passes as one dataset, and whether it holds text (else tokens)."""
        if self._before_tokenize is not None:
            dataset = self._run(self._before_tokenize, split, seed, epochs)
            if all(_is(dataset, name, tf.string, 0) for name in FEATURES):
                return dataset, True
        # pack cuts, and counts what it cuts
        untrimmed = {seqio.preprocessors.append_eos_after_trim: seqio.preprocessors.append_eos}
        steps = [untrimmed.get(step, step) for step in self.task.preprocessors]
        dataset = self._run(steps, split, seed, epochs)
        for name in FEATURES:
            if not _is(dataset, name, tf.int32, 1):
                spec = dataset.element_spec.get(name, 'nothing')
                raise UserError(
                    f'task {self.name!r}: its preprocessors leave {spec} as {name!r}; expected '
                    'int32 ids of rank 1'
                )
        return dataset, False

    def _run(self, steps: Sequence[Step], split: str, seed: int, epochs: int) -> tf.data.Dataset:
        """What Task.get_dataset gives without shuffling and trimming, pass after pass."""
        task = self.task.replace(preprocessors=steps, metric_fns=(), metric_objs=())
        passes = []
        for one in range(seed, seed + epochs):
            tf.random.set_seed(one)  # for random ops that take no seed of SeqIO's
            dataset = task.source.get_dataset(split=split, shuffle=False)
            dataset = task.preprocess_precache(dataset, seed=one)
            passes.append(task.preprocess_postcache(dataset, self._lengths, seed=one))
        return functools.reduce(tf.data.Dataset.concatenate, passes)

    @functools.cached_property
    def _before_tokenize(self) -> list[Step] | None:
        """The steps before `tokenize`, if nothing but one `append_eos` comes after it."""
        steps = list(self.task.preprocessors)
        first = next((i for i, step in enumerate(steps) if step in _TOKENIZE), None)
        if first is None or not all(map(_encoder, self.task.output_features.values())):
            return None
        after = [s for s in steps[first + 1 :] if not isinstance(s, seqio.CacheDatasetPlaceholder)]
        appended = int(steps[first] is seqio.preprocessors.tokenize_and_append_eos) + len(after)
        return steps[:first] if appended == 1 and all(s in APPEND_EOS for s in after) else None

    @property
    def _reads_python(self) -> bool:
        return isinstance(self.task.source, RecordSource) and self._before_tokenize == []

    def _encode(self, records: list[Record], name: str) -> Ragged:
        encode = _encoder(self.task.output_features[name])
        assert encode is not None  # see _before_tokenize
        return encode([record[name] for record in records])


def _encoder(feature: seqio.Feature) -> Callable[[list[str]], Ragged] | None:
    """Texts to ids in one call, for the vocabularies that have it."""
    if isinstance(feature.vocabulary, SeqioVocabulary):
        return functools.partial(
            feature.vocabulary.vocabulary.encode_ragged, add_eos=feature.add_eos
        )
    if isinstance(feature.vocabulary, seqio.SentencePieceVocabulary):
        return functools.partial(_encode_with_seqio, feature)
    return None


def _encode_with_seqio(feature: seqio.Feature, texts: list[str]) -> Ragged:
    rows = feature.vocabulary.tokenizer.encode(texts, num_threads=1)
    if feature.add_eos:
        for row in rows:
            row.append(feature.vocabulary.eos_id)
    return flat(rows)


def _rows(ragged: Ragged) -> list[np.ndarray]:
    tokens, splits = ragged
    return np.split(tokens, splits[1:-1])


def _ragged(value: tf.Tensor | tf.RaggedTensor) -> Ragged:
    if isinstance(value, tf.Tensor):  # all rows have one length that TensorFlow knows beforehand
        value = tf.RaggedTensor.from_tensor(value)
    return value.values.numpy(), value.row_splits.numpy()


def _records(batch: Mapping[str, tf.Tensor]) -> list[Record]:
    """The text of a batch, row by row."""
    columns = {
        name: [text.decode('utf-8', 'replace') for text in value.numpy()]
        for name, value in batch.items()
        if value.dtype == tf.string
    }
    rows = int(tf.shape(batch['inputs'])[0])
    return [{name: column[i] for name, column in columns.items()} for i in range(rows)]


def _is(dataset: tf.data.Dataset, name: str, dtype: tf.DType, rank: int) -> bool:
    spec = dataset.element_spec.get(name)
    return isinstance(spec, tf.TensorSpec) and spec.dtype == dtype and spec.shape.rank == rank


def _batches(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Batches of inputs and targets, and of what scoring needs beside them."""
    names = [name for name in dataset.element_spec if name in FEATURES]
    names += [name for name in _EXTRAS if _is(dataset, name, tf.string, 0)]
    return dataset.map(lambda x: {name: x[name] for name in names}).ragged_batch(BATCH)


@contextlib.contextmanager
def _errors_named(task: seqio.Task, split: str) -> Iterator[None]:
    """What goes wrong in a task's source or preprocessors, in one line that names the task."""
    try:
        yield
    except (UserError, GeneratorExit):
        raise
    except Exception as error:
        own = re.search(r'UserError: (.*)', str(error))  # of a RecordSource, as tf.data quotes it
        if own:
            raise UserError(own[1]) from error
        lines = str(error).strip().splitlines() or ['']
        said = lines[-1 if lines[0] == 'in user code:' else 0].strip()  # as TensorFlow puts it
        raise UserError(
            f'task {task.name!r}, split {split!r}: {type(error).__name__}: {said:.300}'
        ) from error

"""Validation: the loss on every pair, and the F1 of greedy text where a task has a metric."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fsa_jax.configs import DecodeConfig, RowsConfig
from fsa_jax.data.rows import Rows
from fsa_jax.data.store import TokenStore
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.decode import Generator
from fsa_jax.evaluate import f1
from fsa_jax.model.t5 import Params
from fsa_jax.partition import Partition
from fsa_jax.progress import say
from fsa_jax.train.feed import Feed, prefetch
from fsa_jax.train.metrics import VALIDATION
from fsa_jax.train.step import Batch, Sums

_CHUNK = 512  # texts generated between two looks at whether to stop


class Interrupted(Exception):
    """The run was asked to stop in the middle of an evaluation."""


def mean_losses(sums: Sums, tasks: list[str], prefix: str = '') -> dict[str, float]:
    """{'loss': mean over all target tokens, 'loss/TASK': over those of a task}, in nats a token.

    With one task there is no row of its own; a task without a token has none either.
    """
    loss, tokens = (np.asarray(x, np.float64) for x in sums)
    values = {f'{prefix}loss': loss.sum() / max(tokens.sum(), 1)}
    for task, of_task, count in zip(tasks, loss, tokens):
        if count and len(tasks) > 1:
            values[f'{prefix}loss/{task}'] = of_task / count
    return {name: float(value) for name, value in values.items()}


def metric_names(stores: Mapping[str, TokenStore]) -> list[str]:
    """Names of what a Validator of these stores evaluates."""
    scored = [task for task, store in stores.items() if store.metric]
    names = ['loss'] * bool(stores) + ['f1'] * bool(scored)
    names += [f'loss/{task}' for task in stores if len(stores) > 1]
    names += [f'f1/{task}' for task in scored if len(scored) > 1]
    return [VALIDATION + name for name in names]


class Validator:
    """Evaluates params on the first `examples` pairs (0: all) of each task's store."""

    def __init__(
        self,
        stores: Mapping[str, TokenStore],
        config: RowsConfig,
        vocabulary: Vocabulary,
        step: Callable[[Params, Batch], Sums],
        generator: Generator,
        partition: Partition,
        examples: int = 0,
    ):
        if examples:
            stores = {task: store.head(examples) for task, store in stores.items()}
        rows = config.replace(batch_size=config.batch_size // config.microbatches, microbatches=1)
        self._rows = Rows.once(stores, rows)
        if self._rows.cut:
            say(f'the loss of validation: {self._rows.describe_cut()}')
        self._feed = Feed(self._rows, partition)
        self._scored = {task: store for task, store in stores.items() if store.metric}
        self._vocabulary, self._step, self._generator = vocabulary, step, generator

    def evaluate(self, params: Params, stop: Callable[[], bool]) -> dict[str, float]:
        """Losses, and F1s in [0, 1]: 'validation/f1' is their mean over the tasks that have one.

        Raises Interrupted soon after `stop()` becomes true.
        """
        return self._losses(params, stop) | self._f1s(params, stop)

    def _losses(self, params: Params, stop: Callable[[], bool]) -> dict[str, float]:
        return mean_losses(self._sums(params, stop), self._rows.tasks, VALIDATION)

    def _sums(self, params: Params, stop: Callable[[], bool]) -> Sums:
        total: Any = Sums(*np.zeros((2, len(self._rows.tasks))))
        for fed in prefetch(self._feed.at, range(self._rows.steps_per_epoch())):
            _look(stop)
            total = jax.tree.map(np.add, total, self._step(params, fed.arrays))
        return total

    def _f1s(self, params: Params, stop: Callable[[], bool]) -> dict[str, float]:
        values = {}
        for task, store in self._scored.items():
            values[task] = self._score(store, list(self._generate(params, store, stop)))
        return mean_f1s(values)

    def _generate(
        self, params: Params, store: TokenStore, stop: Callable[[], bool]
    ) -> Iterator[list[int]]:
        """Generated ids of each pair of a store."""
        decode: DecodeConfig = self._generator.decode
        length = decode.task_max_new_tokens.get(store.task, decode.max_new_tokens)
        for first in range(0, len(store), _CHUNK):
            _look(stop)
            chunk = range(first, min(first + _CHUNK, len(store)))
            inputs = [store.pair(i)[0].tolist() for i in chunk]
            yield from self._generator.generate(params, inputs, length)

    def _score(self, store: TokenStore, outputs: Sequence[Sequence[int]]) -> float:
        texts = [self._vocabulary.decode(ids) for ids in outputs]
        examples = list(store.examples())
        golds, sentences = [e.gold for e in examples], [e.sentence for e in examples]
        return f1.score(store.metric, texts, golds, sentences).f1


def mean_f1s(values: Mapping[str, float]) -> dict[str, float]:
    """The mean over tasks, and each of them where there are several."""
    if not values:
        return {}
    mean = {f'{VALIDATION}f1': sum(values.values()) / len(values)}
    if len(values) == 1:
        return mean
    return mean | {f'{VALIDATION}f1/{task}': value for task, value in values.items()}


def _look(stop: Callable[[], bool]) -> None:
    if stop():
        raise Interrupted

"""The one door to SeqIO: the tasks and mixtures that `fsa pack` names, as batches of tokens.

A task keeps SeqIO's meaning, without its shuffling, trimming and mixing: order is that of the source,
cutting is left to pack, rates of nested mixtures multiply down to each task.
"""

import gc
import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # its notice ignores the level

from fsa_jax.errors import UserError, nearest

try:
    import seqio
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise UserError(
        f"`fsa pack` needs seqio and TensorFlow ({error}): pip install 'fsa_jax[data]'"
    ) from error

import tasks
from fsa_jax.configs import PackConfig, TrainData
from fsa_jax.data import labels as labels_lib
from fsa_jax.data.vocabulary import Vocabulary
from tasks.token_source import TaskSource

tf.config.set_visible_devices([], 'GPU')  # its memory belongs to JAX


def resolve(config: PackConfig, vocabulary: Vocabulary, labels: TrainData) -> list[TaskSource]:
    """The tasks that `config.tasks`, or else the user's labels, name; mixtures are taken apart.

    Registers our tasks as `config` wants them, the user's labels as task 'user_labels', and imports
    the user's module. Raises UserError for an unknown name or split, and for a task that a token
    store cannot hold, by name.
    """
    tasks.register_all(
        vocabulary,
        data_dir=config.data_dir,
        corpus=config.corpus,
        target_order=config.target_order,
        validation_fraction=config.corpus_validation_fraction,
    )
    if labels.path:
        tasks.register_labels(labels_lib.read_labels(labels), vocabulary, config.target_order)
    if config.module:
        _import(config.module)
    names = config.tasks or ((labels_lib.TASK,) if labels.path else ())
    if not names:
        raise UserError(
            f'PackConfig.tasks is empty; expected some of {", ".join(_registered())}, or '
            'TrainData.path'
        )
    lengths = {'inputs': config.input_length, 'targets': config.target_length}
    sources = [
        TaskSource(seqio.TaskRegistry.get(name), rate, vocabulary, lengths, config.splits)
        for name, rate in _rates(names, config.rates).items()
    ]
    _check_splits(sources, config.splits)
    gc.freeze()  # what TensorFlow made is not searched for garbage again: a fifth of packing's time
    return sources


def _import(module: str) -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise UserError(
            f'PackConfig.module={module!r}: no such module in the current folder or on PYTHONPATH'
        ) from None


def _registered() -> list[str]:
    return sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})


def _rates(names: Iterable[str], chosen: Mapping[str, float]) -> dict[str, float]:
    """Rate by task; a task that is named on its own has rate 1; `chosen` ones win."""
    rates: dict[str, float] = {}
    for name in names:
        if name not in _registered():
            raise UserError(
                f'PackConfig.tasks: no task or mixture {name!r}{nearest(name, _registered())}; '
                f'there are {", ".join(_registered())}'
            )
        found = seqio.get_mixture_or_task(name)
        for task in seqio.get_subtasks(found):
            rate = found.get_rate(task) if isinstance(found, seqio.Mixture) else 1.0
            rates[task.name] = rates.get(task.name, 0.0) + rate
    for name, rate in chosen.items():
        if name not in rates:
            raise UserError(
                f'PackConfig.rates: no task {name!r} among {", ".join(rates)}{nearest(name, rates)}'
            )
        rates[name] = rate
    return rates


def _check_splits(sources: Sequence[TaskSource], wanted: Iterable[str]) -> None:
    for split in wanted:
        if not any(split in source.splits for source in sources):
            known = sorted({s for source in sources for s in source.task.splits})
            raise UserError(
                f'PackConfig.splits: no task has a split {split!r}{nearest(split, known)}; there '
                f'are {", ".join(known)}'
            )

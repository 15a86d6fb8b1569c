"""Model folders, and the checkpoints of a training run.

    model/                    written by `train` and `import`; read by train, predict and export
      model.json              the fields of T5Config
      vocabulary/             spiece.model and its settings
      checkpoints/<step>/     Orbax: params, training (optimizer state and step), checksums
      best.json               {"step", "metric", "value"} where a run keeps the best by a metric
      seeds.json              of seeds that trained together: {"seeds": [42, 52], "metric", "best":
                              {"42": {"step", "value"}, …}}; params then have a leading axis of seeds,
                              each as it was at its best

A checkpoint holds a checksum of every array, so that a damaged one is known as such: the formats
below Orbax give zeros for a lost chunk. The checksum is a sum over bits, the same under any sharding.
"""

import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from jax import Array
from orbax.checkpoint import checkpoint_managers

from fsa_jax.artifacts import VOCABULARY
from fsa_jax.configs import T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import Unreachable, UserError, may_pass, nearest
from fsa_jax.hosts import Hosts
from fsa_jax.manifest import write_atomic
from fsa_jax.model.t5 import Params, abstract_params
from fsa_jax.optim import path_names
from fsa_jax.partition import check_params, spread
from fsa_jax.progress import say
from fsa_jax.train.state import GroupState, TrainState

MODEL, CHECKPOINTS, BEST = 'model.json', 'checkpoints', 'best.json'
SEEDS = 'seeds.json'
WHICH = ('auto', 'latest', 'best')  # checkpoints by name

State = TypeVar('State', TrainState, GroupState)


FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: no space is left for what is written


class Damaged(Exception):
    """A checkpoint does not hold what was saved."""


# What Orbax, tensorstore and JSON raise when they read, and those statuses of tensorstore that tell
# of wrong bytes; with others (UNAVAILABLE, PERMISSION_DENIED …) the next try may be better.
_READING = (Damaged, ValueError, KeyError, TypeError, OSError)
_DAMAGE = ('DATA_LOSS', 'FAILED_PRECONDITION', 'INVALID_ARGUMENT', 'NOT_FOUND', 'OUT_OF_RANGE')
_REFUSED = ('PERMISSION_DENIED', 'UNAUTHENTICATED')


def steps(folder: Path) -> list[int]:
    """Steps of the checkpoints of a model folder that are complete, oldest first."""
    names = (path.name for path in (folder / CHECKPOINTS).glob('*'))
    return sorted(int(name) for name in names if name.isdigit())


def read_best(folder: Path) -> dict[str, Any] | None:
    """`best.json` of a model folder, None where it has none."""
    path = folder / BEST
    return json.loads(path.read_text()) if path.is_file() else None


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """A trained or imported model on disk."""

    folder: Path
    config: T5Config

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary the model was trained with."""
        return Vocabulary.load(self.folder / VOCABULARY)

    @cached_property
    def group(self) -> dict[str, Any]:
        """`seeds.json`; empty for a model of one seed."""
        path = self.folder / SEEDS
        return json.loads(path.read_text()) if path.is_file() else {}

    def step(self, which: str = 'auto', seed: int | None = None) -> int:
        """The step of the 'latest' or 'best' checkpoint, or a step by its number; 'auto' is best
        where the run kept one.

        Of seeds that trained together, one has to be named.
        """
        if which not in WHICH and not which.isdigit():
            raise UserError(
                f'expected {", ".join(WHICH)} or a step; got {which!r}{nearest(which, WHICH)}'
            )
        self._check_seed(which, seed)
        there, best = steps(self.folder), read_best(self.folder)
        if not there:
            raise UserError(f'{self.folder} holds no checkpoint yet')
        if self.group:
            return self.group['best'][str(seed)]['step']
        if which.isdigit():
            if int(which) not in there:
                raise UserError(f'{self.folder} has no checkpoint {which}; it has {there}')
            return int(which)
        if which == 'latest' or (which == 'auto' and best is None):
            return there[-1]
        if best is None or best['step'] not in there:
            raise UserError(
                f'{self.folder} keeps no best checkpoint by a metric; '
                f"expected which='latest' (steps {there})"
            )
        return best['step']

    def _check_seed(self, which: str, seed: int | None) -> None:
        seeds = self.group.get('seeds', [])
        if seeds and seed not in seeds:
            came = 'none was named' if seed is None else f'got {seed}'
            raise UserError(
                f'{self.folder} holds the seeds {", ".join(map(str, seeds))}, of which one is needed: '
                f'{came} (--seed=…, ExportConfig.seed or PredictConfig.seed)'
            )
        if seeds and which not in ('auto', 'best'):
            raise UserError(
                f"{self.folder} keeps the best of each seed alone; expected which='auto' or 'best'"
            )
        if not seeds and seed is not None:
            raise UserError(f'{self.folder} is a model of one seed; leave out seed={seed}')

    def load_params(
        self, which: str = 'auto', shardings: Any = None, seed: int | None = None
    ) -> Params:
        """The parameters, float32, on the first local device or laid out by a tree of shardings.

        UserError names the tensor whose shape is not that of model.json, or the damaged checkpoint.
        """
        step = self.step(which, seed)
        abstract = abstract_params(self.config)
        one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = jax.tree.map(lambda _: one, abstract) if shardings is None else shardings
        if not self.group:
            return self._restore(step, abstract, wanted)
        number = self.group['seeds'].index(seed)
        stacked = stack_abstract(abstract, len(self.group['seeds']))
        every = self._restore(steps(self.folder)[-1], stacked, jax.tree.map(lambda _: one, stacked))
        return spread(jax.tree.map(lambda x: x[number], every), wanted)

    def _restore(self, step: int, abstract: Params, shardings: Any) -> Params:
        path = (self.folder / CHECKPOINTS / str(step)).absolute()
        try:
            with _reader() as reader:
                saved = reader.metadata(path).item_metadata['params'].tree
                if self.group:
                    saved = jax.tree.map(_of_one_seed, saved)
                check_params(self.config, saved, self.folder)
                args = ocp.args.Composite(
                    params=ocp.args.StandardRestore(_laid_out(abstract, shardings)),
                    checksums=ocp.args.JsonRestore(),
                )
                items = reader.restore(path, args=args)
            params = items['params']
            _check({'params': params}, items['checksums'])
        except UserError:
            raise
        except Exception as error:
            why = _of_reading(error)
            _refuse_passing(why, path)
            raise UserError(f'{path} is damaged: {_first_line(why)}') from error
        return params


def stack_abstract(tree: Any, count: int) -> Any:
    """Abstract arrays with a further axis of `count` in front."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), tree)


def _of_one_seed(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape[1:], x.dtype)


def _reader() -> ocp.Checkpointer:
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
            params=ocp.StandardCheckpointHandler(),
            training=ocp.StandardCheckpointHandler(),  # not read, but Orbax warns without it
            checksums=ocp.JsonCheckpointHandler(),
        )
    )


def open_model(folder: str | Path) -> ModelFolder:
    """The model in `folder`; UserError where there is none."""
    folder = Path(folder)
    path = folder / MODEL
    try:
        return ModelFolder(folder, T5Config(**json.loads(path.read_text())))
    except FileNotFoundError:
        published = (folder / 'config.json').is_file()
        raise UserError(
            f'{folder} is not a model folder (of train or import): it has no {MODEL}'
            + '; a Hugging Face folder goes through `fsa import` first' * published
        ) from None
    except (ValueError, TypeError) as error:
        raise UserError(f'{path} does not hold the fields of T5Config: {error}') from None


def write_header(folder: Path, config: T5Config, vocabulary: Vocabulary) -> None:
    """Writes what a model folder holds beside its checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(dataclasses.asdict(config), indent=1) + '\n'
    write_atomic(folder / MODEL, content)
    vocabulary.save(folder / VOCABULARY)


def write_model(
    folder: Path, config: T5Config, vocabulary: Vocabulary, params: Params, step: int = 0
) -> None:
    """Writes a model folder with one checkpoint, without the state of an optimizer."""
    check_params(config, params, folder)
    write_header(folder, config, vocabulary)
    items = {
        'params': ocp.args.StandardSave(jax.tree.map(jnp.asarray, params)),
        'checksums': ocp.args.JsonSave(_checksums({'params': params})),
    }
    path = (folder / CHECKPOINTS / str(step)).absolute()
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        checkpointer.save(path, args=ocp.args.Composite(**items))


class Checkpoints:
    """The checkpoints of a running job: saved in the background, `keep` latest and the best kept.

    `best_step()` is asked at every save which step is the best so far (None: none yet). `url` (gs://) is
    where they go instead of the folder; Orbax writes there from all hosts.
    """

    def __init__(
        self,
        folder: Path,
        keep: int,
        best_step: Callable[[], int | None],
        hosts: Hosts | None = None,
        url: str = '',
    ):
        self._keep, self._best_step, self._hosts = keep, best_step, hosts or Hosts()
        self._saving: int | None = None
        self._at_url, self._given_up = bool(url), False
        self._root = epath.Path(url or (folder / CHECKPOINTS).absolute())
        policy = checkpoint_managers.AnyPreservationPolicy(
            [checkpoint_managers.LatestN(keep), _Only(best_step)]
        )
        self._manager = ocp.CheckpointManager(
            self._root,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                cleanup_tmp_directories=True,
                async_options=ocp.AsyncOptions(barrier_sync_fn=_meet),
            ),
            item_names=('params', 'training', 'checksums'),
        )

    def save(self, state: TrainState | GroupState) -> None:
        """Begins to save `state`, unless it is saved already; returns when it is copied.

        On a full disk that is said, and the run goes on: the last good checkpoint is kept. Several
        processes look for room first; a disk that is full none the less is a UserError.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self.wait()  # what went wrong with the one before is not of this one
        items = state.items()
        self._saving = step
        if not self._has_room(items):
            self._say_full()
            return
        args = ocp.args.Composite(
            **{name: ocp.args.StandardSave(item) for name, item in items.items()},
            checksums=ocp.args.JsonSave(_checksums(items)),
        )
        with self._outliving_a_full_disk():
            self._manager.save(step, args=args)

    def _has_room(self, items: dict[str, Any]) -> bool:
        """Whether there is room for a checkpoint beside those that are there, as process 0 sees it. One
        process alone finds out as it writes; of several each would, when others go on already."""
        if self._hosts.count == 1 or self._at_url:
            return True
        # a tenth and a MiB more: what lies beside the arrays, and the rows of metrics meanwhile
        needed = 1.1 * sum(x.nbytes for x in jax.tree.leaves(items)) + 2**20
        return self._hosts.first(lambda: shutil.disk_usage(self._root).free > needed)

    def _say_full(self) -> None:
        say(
            f'checkpoint {self._saving} was not saved: no space is left for {self._root}; the run '
            f'goes on, and its last good checkpoint is {self._manager.latest_step()}'
        )

    @contextlib.contextmanager
    def _outliving_a_full_disk(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # an OSError, or tensorstore's ValueError with its text
            if not any(os.strerror(number) in str(error) for number in FULL):
                raise
            if self._hosts.count > 1:  # others wait for this one to finish it, or have gone on
                self._given_up = True
                raise UserError(
                    f'checkpoint {self._saving} was not saved: no space is left for {self._root}; make '
                    f'room and give the same command again; it goes on from checkpoint {self._manager.latest_step()}'
                ) from error
            # what was written of it would take the room of the next
            for path in self._root.glob(f'{self._saving}.orbax-checkpoint-tmp*'):
                shutil.rmtree(path, ignore_errors=True)
            self._say_full()

    def restore(self, abstract: State) -> State | None:
        """The newest good checkpoint in the shapes, dtypes and shardings of `abstract`, or None.

        A damaged one is said, and set aside as `<step>.damaged`, so that its step can be saved anew.
        UserError where there are some and none is good: a long run does not begin anew unasked.
        """
        self.wait()
        damaged: list[int] = []
        for step in reversed(self.steps()):
            state = self._read(step, abstract)
            if state is None:
                damaged.append(step)
                continue
            for later in damaged:
                self._hosts.first(partial(self._set_aside, later))
            if damaged:
                self._manager.reload()
            return state
        if damaged:
            raise UserError(
                f'no checkpoint in {self._root} can be read (tried {damaged}); --overwrite begins anew'
            )
        return None

    def _read(self, step: int, abstract: State) -> State | None:
        """A checkpoint as saved, or None where any process finds it damaged."""
        state: State | None = None
        checksums: dict[str, int] = {}
        why = 'another process says so'
        try:
            state, checksums = self._restore(step, abstract)
        except Exception as error:
            cause = _of_reading(error)
            _refuse_passing(cause, self.path(step))
            why = _first_line(cause)
        # The sums are over all devices, so each process must take part; each sees its own copy of
        # what is replicated, so each must be content.
        if self._hosts.all('restored', state is not None) and state is not None:
            try:
                _check(state.items(), checksums)
            except Damaged as error:
                state, why = None, str(error)
            if self._hosts.all('checked', state is not None):
                return state
        say(f'checkpoint {step} is damaged ({why}); trying the one before')
        return None

    def _restore(self, step: int, abstract: State) -> tuple[State, dict[str, int]]:
        """The state and the checksums of a step. No process waits for another in here."""
        folder = self.path(step)
        items = {
            name: ocp.StandardCheckpointHandler().restore(
                folder / name, args=ocp.args.StandardRestore(item)
            )
            for name, item in abstract.items().items()
        }
        checksums = ocp.JsonCheckpointHandler().restore(folder / 'checksums')
        return type(abstract).of(items), checksums

    def _set_aside(self, step: int) -> None:
        aside = self._root / f'{step}.damaged'
        number = 1
        while aside.exists():
            number += 1
            aside = self._root / f'{step}.damaged{number}'
        self.path(step).rename(aside)

    def path(self, step: int) -> epath.Path:
        """Where the checkpoint of a step lies."""
        return self._root / str(step)

    def steps(self) -> list[int]:
        """The steps that are complete, oldest first."""
        return sorted(self._manager.all_steps())

    def latest(self) -> int | None:
        """The newest step that is safely on disk."""
        self.wait()
        return self._manager.latest_step()

    def wait(self) -> None:
        """Returns when all that was begun is on disk, or was given up."""
        with self._outliving_a_full_disk():
            self._manager.wait_until_finished()

    def drop_superfluous(self) -> None:
        """Drops what the last evaluation made superfluous. Processes wait for each other in here."""
        self.wait()
        kept = {*self.steps()[-self._keep :], self._best_step()}
        for step in self.steps():
            if step not in kept:
                self._manager.delete(step)

    def close(self) -> None:
        """Waits for what was begun; no process waits for another that may have failed."""
        if self._given_up:
            return
        self.wait()
        self._manager.close()


def _meet(*, key: str, timeout_ms: int) -> None:
    """Orbax's barrier, but for a process whose writing failed: Orbax has it wait for the others before it
    says so, and they wait for what it does not write."""
    failed = sys.exception()
    if failed is not None:
        raise failed
    ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)


class _Only(checkpoint_managers.PreservationPolicy):
    """Keeps the step that a function names."""

    def __init__(self, step: Callable[[], int | None]):
        self._step = step

    def should_preserve(self, checkpoints, *, context):
        return [checkpoint.step == self._step() for checkpoint in checkpoints]


@jax.jit
def _sums(tree: Any) -> Any:
    """The sum, modulo 2^32, of each array's bits taken as unsigned integers."""

    def bits(x: Array) -> Array:
        words = jax.lax.bitcast_convert_type(x, jnp.dtype(f'uint{8 * x.dtype.itemsize}'))
        return jnp.sum(words, dtype=jnp.uint32)

    return jax.tree.map(bits, tree)


def _checksums(items: dict[str, Any]) -> dict[str, int]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(_sums(items)))
    return {'/'.join(path_names(path)): int(value) for path, value in leaves}


def _check(items: dict[str, Any], expected: dict[str, int]) -> None:
    for name, value in _checksums(items).items():
        if expected.get(name) != value:
            raise Damaged(f'{name} does not have its checksum')


def _laid_out(abstract: Any, shardings: Any) -> Any:
    return jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings
    )


def _of_reading(error: Exception) -> Exception:
    """What went wrong as something was read; any other error is raised again.

    Orbax wraps what tensorstore says of a shard in a bare Exception.
    """
    wrapped = error.__cause__ if type(error) is Exception else None
    cause = wrapped if isinstance(wrapped, Exception) else error
    if not isinstance(cause, _READING):
        raise error
    return cause


def _refuse_passing(error: Exception, path: Path) -> None:
    """UserError where `path` cannot be read now, Unreachable where that may pass; returns where what lies
    there is wrong."""
    if isinstance(error, OSError):
        damaged, passes = isinstance(error, FileNotFoundError), may_pass(error)
    else:
        status = re.match(r'([A-Z_]+): ', str(error))
        damaged = status is None or status[1] in _DAMAGE
        passes = status is not None and status[1] not in _REFUSED
    if not damaged:
        raise (Unreachable if passes else UserError)(
            f'{path} cannot be read now ({_first_line(error)}); nothing was changed, and the same '
            'command tries again'
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]

"""The device mesh (data, fsdp, tensor), and how parameters, optimizer state and batches lie on it.

Presets map the logical axes of model/axes.py to mesh axes:

    dp       parameters on every device, rows spread over data x fsdp
    fsdp     and parameters and optimizer state cut along D over fsdp
    fsdp_tp  and heads, mlp and vocabulary cut over tensor

Every activation is constrained too, else the partitioner may gather them over the global batch.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from fsa_jax.configs import MeshConfig, T5Config
from fsa_jax.errors import UserError
from fsa_jax.model import axes
from fsa_jax.model.t5 import Params, abstract_params, param_axes
from fsa_jax.optim import path_names

DATA, FSDP, TENSOR = MESH_AXES = ('data', 'fsdp', 'tensor')
SEED = 'seed'  # in front of them where several seeds train together
Rules = tuple[tuple[str, str | tuple[str, ...] | None], ...]

_DP: Rules = ((axes.BATCH, (DATA, FSDP)),)
_FSDP: Rules = (*_DP, (axes.EMBED, FSDP))
_FSDP_TP: Rules = (
    *_FSDP,
    (axes.VOCAB, TENSOR),
    (axes.JOINED_KV, TENSOR),
    (axes.MLP, TENSOR),
    (axes.HEADS, TENSOR),
    (axes.ACTIVATION_HEADS, TENSOR),
    (axes.ACTIVATION_MLP, TENSOR),
    (axes.ACTIVATION_VOCAB, TENSOR),
)
PRESETS = {'dp': _DP, 'fsdp': _FSDP, 'fsdp_tp': _FSDP_TP}


def check_params(config: T5Config, params: Params, where: str | Path) -> None:
    """UserError names the first parameter, of those in `where`, whose shape is not that of `config`."""

    def shapes(tree: Params) -> dict[str, tuple[int, ...]]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
        return {'/'.join(path_names(path)): tuple(leaf.shape) for path, leaf in leaves}

    wanted, found = shapes(abstract_params(config)), shapes(params)
    for name in sorted(wanted | found):
        if wanted.get(name) != found.get(name):
            raise UserError(
                f'{where}: parameter {name} must have shape {wanted.get(name)} by T5Config; got '
                f'{found.get(name)} (None: no such parameter)'
            )


def spread(tree: Any, shardings: Any) -> Any:
    """Arrays that every process holds whole, laid out by a tree of shardings: each puts its own part."""

    def put(x, sharding):
        return jax.make_array_from_callback(x.shape, sharding, np.asarray(x).__getitem__)

    return jax.tree.map(put, tree, shardings)


def bytes_held(tree: Any) -> int:
    """Bytes of a tree of abstract arrays on one device."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def mesh_shape(config: MeshConfig, devices: int) -> tuple[int, int, int]:
    """(data, fsdp, tensor) over so many devices; UserError where they do not come to that."""
    if config.tensor > 1 and config.preset != 'fsdp_tp':
        raise UserError(
            f'MeshConfig.tensor={config.tensor} does nothing under preset {config.preset!r}; '
            "set MeshConfig.preset='fsdp_tp' or tensor=1"
        )
    data = config.data
    if data == -1:
        data = max(1, devices // (config.fsdp * config.tensor))
    if data * config.fsdp * config.tensor != devices:
        raise UserError(
            f'MeshConfig data={data} x fsdp={config.fsdp} x tensor={config.tensor} is '
            f'{data * config.fsdp * config.tensor} devices, but there are {devices}'
        )
    return data, config.fsdp, config.tensor


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over all devices (or those given), in an order that suits their network."""
    devices = jax.devices() if devices is None else devices
    laid_out = lay_out(mesh_shape(config, len(devices)), devices)
    return Mesh(laid_out, MESH_AXES, axis_types=(AxisType.Auto,) * 3)


def lay_out(shape: tuple[int, int, int], devices: Sequence[jax.Device]) -> np.ndarray:
    """Devices as an array [data, fsdp, tensor]; of several TPU slices the data axis spans them.

    jax.make_mesh would refuse these, and GPUs of several nodes, which jax takes for slices as well: they
    lie in the order of their nodes. UserError where the slices do not divide the data axis.
    """
    on_tpu = devices[0].platform == 'tpu'
    slices = len({getattr(d, 'slice_index', 0) for d in devices}) if on_tpu else 1
    if slices == 1:
        return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    data, *within = shape
    if data % slices:
        raise UserError(
            f'MeshConfig.data={data} is not divisible by the {slices} slices: only the data axis may '
            'span slices'
        )
    return mesh_utils.create_hybrid_device_mesh(
        (data // slices, *within), (slices, 1, 1), devices, allow_split_physical_axes=True
    )


@dataclass(frozen=True)
class Partition:
    """A mesh with the rules of a preset."""

    mesh: Mesh
    rules: Rules

    @classmethod
    def from_config(
        cls, config: MeshConfig, devices: Sequence[jax.Device] | None = None
    ) -> 'Partition':
        """UserError where the mesh is not one of the devices there are."""
        return cls(make_mesh(config, devices), PRESETS[config.preset])

    @property
    def device(self) -> jax.Device:
        """One of its devices, which are all of a kind."""
        return self.mesh.devices.flat[0]

    def over_seeds(self, seeds: int) -> 'Partition':
        """The same devices with an axis for `seeds` in front: as many of the data axis as divide them."""
        data, fsdp, tensor = self.mesh.devices.shape
        size = math.gcd(seeds, data)
        devices = self.mesh.devices.reshape(size, data // size, fsdp, tensor)
        mesh = Mesh(devices, (SEED, *MESH_AXES), axis_types=(AxisType.Auto,) * 4)
        return dataclasses.replace(self, mesh=mesh)

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """In here the model's constraints on activations hold: trace and run programs in it."""
        with jax.set_mesh(self.mesh), nn.logical_axis_rules(self.rules):
            yield

    # -- summing over the data axis ------------------------------------------------------------

    def data_parallel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function(params, batch, *rest)` run by each shard of the data axis on its rows.

        In it `sum_over_data` adds up; what it returns must be the same on all shards. Left to the
        partitioner instead, a gradient crosses the network once a use and once a microbatch.
        """
        if self.mesh.shape[DATA] == 1:
            return function
        rules = tuple((name, _without_data(mesh_axes)) for name, mesh_axes in self.rules)

        def shard(*arguments):
            with nn.logical_axis_rules(rules):
                return function(*arguments)

        def run(params, batch, *rest):
            specs = (PartitionSpec(), PartitionSpec(None, DATA), *[PartitionSpec() for _ in rest])
            mapped = jax.shard_map(
                shard,
                mesh=self.mesh,
                in_specs=specs,
                out_specs=PartitionSpec(),
                axis_names={DATA},
                check_vma=False,
            )
            return mapped(params, batch, *rest)

        return run

    def sum_over_data(self, tree: Any, dtype: DTypeLike = jnp.float32) -> Any:
        """The sum over the data axis, within `data_parallel`: sent as `dtype`, returned as it came."""
        if self.mesh.shape[DATA] == 1:
            return tree
        if self.device.platform == 'cpu' and jnp.dtype(dtype) == jnp.bfloat16:
            # XLA:CPU dies of a bfloat16 sum in a program that is manual over some axes only (jax
            # 0.10.2, 'Invalid binary instruction opcode copy'): what is sent is rounded alike.
            rounded = jax.tree.map(lambda x: jax.lax.reduce_precision(x, 8, 7), tree)
            return self.sum_over_data(rounded)
        return jax.tree.map(lambda x: jax.lax.psum(x.astype(dtype), DATA).astype(x.dtype), tree)

    def shards_of_rows(self) -> int:
        """Parts that the rows of an array are cut into, as the program being traced sees it."""
        mine = axes.manual_axes()
        return math.prod(self.mesh.shape[axis] for axis in (DATA, FSDP) if axis not in mine)

    # -- where arrays lie ----------------------------------------------------------------------

    @property
    def replicated(self) -> NamedSharding:
        """On every device, whole."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def microbatches(self) -> NamedSharding:
        """Of an array [microbatch, row, ...]: rows spread over data x fsdp."""
        return NamedSharding(self.mesh, PartitionSpec(None, (DATA, FSDP)))

    @property
    def rows(self) -> NamedSharding:
        """Of an array [row, ...]: rows spread over data x fsdp."""
        return NamedSharding(self.mesh, PartitionSpec((DATA, FSDP)))

    @property
    def data_shards(self) -> int:
        """Parts that the rows of a batch are cut into."""
        return self.mesh.shape[DATA] * self.mesh.shape[FSDP]

    def params(self, config: T5Config) -> Any:
        """A NamedSharding for every parameter of a model."""
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf, names: self.sharding('/'.join(path_names(path)), names, leaf.shape),
            abstract_params(config),
            param_axes(config),
        )

    def like(self, tree: Any, params: Any, shardings: Any) -> Any:
        """Shardings of a tree that holds copies of `params` (moments, a train state): a leaf whose
        path ends in that of a parameter of the same shape lies as it does, others on all devices."""
        leaves, _ = jax.tree_util.tree_flatten_with_path(params)
        known = {
            path_names(path): (leaf.shape, sharding)
            for (path, leaf), sharding in zip(leaves, jax.tree.leaves(shardings))
        }

        def sharding_of(path, leaf):
            names = path_names(path)
            for start in range(len(names)):
                shape, sharding = known.get(names[start:], (None, None))
                if sharding is not None and shape == leaf.shape:
                    return sharding
            return self.replicated

        return jax.tree_util.tree_map_with_path(sharding_of, tree)

    def sharding(
        self, tensor: str, names: Sequence[str | None], shape: Sequence[int]
    ) -> NamedSharding:
        """How a tensor with these logical axes lies on the mesh.

        UserError where two of its axes want one mesh axis, or a size is not divisible.
        """
        spec = [dict(self.rules).get(name) if name else None for name in names]
        used: dict[str, str | None] = {}
        for name, size, mesh_axes in zip(names, shape, spec):
            parts = [mesh_axes] if isinstance(mesh_axes, str) else list(mesh_axes or ())
            for axis in parts:
                if axis in used:
                    raise UserError(
                        f'{tensor}: axes {used[axis]!r} and {name!r} both lie on mesh axis {axis!r}'
                    )
                used[axis] = name
            shards = math.prod(self.mesh.shape[axis] for axis in parts)
            if size % shards:
                raise UserError(_indivisible(tensor, name, size, parts, shards))
        return NamedSharding(self.mesh, PartitionSpec(*spec))

    def check_batch(self, batch: int, microbatches: int = 1) -> None:
        """UserError unless every microbatch of a batch can be spread over the data shards."""
        step = self.data_shards * microbatches
        if batch % step:
            below = batch - batch % step
            choices = f'{below} or {below + step}' if below else f'{step}'
            times = f' x RowsConfig.microbatches={microbatches}' if microbatches > 1 else ''
            raise UserError(
                f'batch {batch} is not divisible by {self.data_shards} data shards (MeshConfig.data='
                f'{self.mesh.shape[DATA]} x fsdp={self.mesh.shape[FSDP]}){times}; use {choices}'
            )


def _without_data(mesh_axes: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """The mesh axes of a rule that the partitioner is left with."""
    if isinstance(mesh_axes, tuple):
        return tuple(axis for axis in mesh_axes if axis != DATA)
    return mesh_axes


def _indivisible(tensor: str, name, size: int, mesh_axes: list[str], shards: int) -> str:
    knobs = ' x '.join(f'MeshConfig.{axis}' for axis in mesh_axes)
    message = f'{tensor}: axis {name!r} of size {size} is not divisible by {knobs}={shards}'
    if name == axes.VOCAB:
        padding = f'T5Config.vocab_padding={-size % shards} more'
        return f'{message}; set MeshConfig.tensor=1, or train with {padding}'
    return f'{message}; choose a divisor of {size}'

"""T5's relative position bias: one learned scalar per (bucket of key - query, head)."""

import math

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from jaxtyping import Float, Int

from fsa_jax.configs import T5Config
from fsa_jax.model import axes
from fsa_jax.model.layers import normal


def buckets_of_distances(num_buckets: int, max_distance: int) -> np.ndarray:
    """int32 [max_distance + 1]: the bucket of each distance; all beyond share the last entry.

    Half of the buckets hold one distance each, the others grow logarithmically (Raffel et al. 2020,
    2.1). numpy's float32, not the accelerator's: another rounding of the logarithm would move the
    distances on the borders.
    """
    exact = num_buckets // 2
    distance = np.arange(max_distance + 1)
    growth = np.log(np.maximum(distance, 1).astype(np.float32) / exact)
    growth = growth / np.float32(math.log(max_distance / exact)) * (num_buckets - exact)
    far = np.minimum(exact + growth.astype(np.int32), num_buckets - 1)
    return np.where(distance < exact, distance, far).astype(np.int32)


def bucket(
    relative_position: Int[Array, '...'],
    *,
    bidirectional: bool,
    num_buckets: int,
    max_distance: int,
) -> Int[Array, '...']:
    """Bucket of a relative position (key - query).

    Bidirectional: half of the buckets for each sign. Otherwise keys after the query share bucket 0
    with the query itself.
    """
    if bidirectional:
        num_buckets //= 2
        distance = jnp.abs(relative_position)
        offset = jnp.where(relative_position > 0, num_buckets, 0)
    else:
        distance = jnp.maximum(-relative_position, 0)
        offset = jnp.zeros_like(relative_position)
    table = jnp.asarray(buckets_of_distances(num_buckets, max_distance))
    return offset + table[jnp.minimum(distance, max_distance)]


def toeplitz(values: Float[Array, 'N H'], rows: int, columns: int) -> Float[Array, 'T S H']:
    """out[t, s] = values[s - t + rows - 1], for N = rows + columns - 1 values.

    Made by tiling and reshaping: its gradient is a sum, where that of a gather would be a scatter
    of T * S updates into a few rows, the slowest thing an accelerator can do.
    """
    heads = values.shape[1]
    period = rows + columns
    padded = jnp.pad(values, ((0, 1), (0, 0)))
    tiled = jnp.tile(padded, (rows, 1))[: rows * (period - 1)]
    return tiled.reshape(rows, period - 1, heads)[:, rows - 1 :]


class RelativeBias(nn.Module):
    """The table [buckets, H] of one stack. Its output is added to all layers' attention logits."""

    config: T5Config
    bidirectional: bool

    def setup(self):
        c = self.config
        self.embedding = self.param(
            'embedding',
            normal(c.d_model**-0.5, axes.BUCKETS, axes.HEADS),
            (c.relative_attention_num_buckets, c.num_heads),
            jnp.float32,
        )

    def _bucket(self, relative_position: Int[Array, '...']) -> Int[Array, '...']:
        return bucket(
            relative_position,
            bidirectional=self.bidirectional,
            num_buckets=self.config.relative_attention_num_buckets,
            max_distance=self.config.relative_attention_max_distance,
        )

    def __call__(self, length: int) -> Float[Array, '1 H T T']:
        """Bias of a row whose positions are 0, 1, 2, …"""
        distances = jnp.arange(1 - length, length)
        bias = toeplitz(self.embedding[self._bucket(distances)], length, length)
        return bias.transpose(2, 0, 1)[None]

    def at(self, positions: Int[Array, 'B T']) -> Float[Array, 'B H T T']:
        """Bias of rows with these positions."""
        relative_position = positions[:, None, :] - positions[:, :, None]
        return self.embedding[self._bucket(relative_position)].transpose(0, 3, 1, 2)

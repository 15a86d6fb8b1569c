"""The layers of a T5 block: dense, RMS norm, embedding table, feed-forward."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.extend.random import threefry2x32_p
from jax.typing import DTypeLike
from jaxtyping import Float, Int, UInt32

from fsa_jax.configs import T5Config
from fsa_jax.model import axes
from fsa_jax.model.products import einsum

SAVED = 'projection'  # what remat='minimal' keeps: outputs of products with weights


def logical(init: Callable[..., Array], *names: str) -> Any:
    """An initializer whose parameter has these logical axis names."""
    return nn.with_logical_partitioning(init, names)


def normal(std: float, *names: str) -> Any:
    """Initializer N(0, std^2) with logical axis names."""
    return logical(nn.initializers.normal(std), *names)


class Dense(nn.Module):
    """x @ kernel, no bias (T5 has none)."""

    shape: tuple[int, int]
    names: tuple[str, str]
    std: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, 'B T _']) -> Float[Array, 'B T _']:
        kernel = self.param('kernel', normal(self.std, *self.names), self.shape, jnp.float32)
        product = einsum('bti,io->bto', x, kernel, self.dtype).astype(self.dtype)
        return checkpoint_name(product, SAVED)


def random_words(key: Array, shape: tuple[int, ...]) -> UInt32[Array, '...']:
    """`jax.random.bits` of the whole batch, of which the traced program may see some rows only.

    JAX draws a word by encrypting its number in the flat array (threefry, Salmon et al. 2011), so
    that a shard which knows its first row draws exactly its part, and masks are those of one device.
    """
    if not axes.manual_axes():
        return jax.random.bits(key, shape, jnp.uint32)
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    place = [jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in range(len(shape))]
    rows = place[0] + jnp.uint32(axes.first_row(shape[0]))
    high, low = _product(rows, strides[0])
    number = low + sum(x * jnp.uint32(stride) for x, stride in zip(place[1:], strides[1:]))
    one, two = threefry2x32_p.bind(*jax.random.key_data(key), high + (number < low), number)
    return one ^ two


def _product(x: UInt32[Array, '...'], y: int) -> tuple[Array, Array]:
    """(high, low) words of x * y, for x and y below 2^32: by halves of y, as there is no uint64."""
    low_half, high_half = x & 0xFFFF, x >> 16
    y_low, y_high = y & 0xFFFF, y >> 16
    middle = low_half * y_high + (low_half * y_low >> 16)
    other = high_half * y_low + (middle & 0xFFFF)
    return high_half * y_high + (middle >> 16) + (other >> 16), x * jnp.uint32(y)


class Dropout(nn.Module):
    """Sets a share `rate` of the elements to 0 and scales the others up to keep the mean.

    The rate is rounded to 1 / 65536, so that one random word serves two elements: drawing them was a
    quarter of a training step on a CPU.
    """

    rate: float
    deterministic: bool

    def __call__(self, x: Float[Array, '*B N']) -> Float[Array, '*B N']:
        dropped = round(self.rate * 65536)
        if self.deterministic or not dropped:
            return x
        if dropped == 65536:
            return jnp.zeros_like(x)
        words = random_words(self.make_rng('dropout'), (*x.shape[:-1], -(-x.shape[-1] // 2)))
        halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(*x.shape[:-1], -1)
        kept = halves[..., : x.shape[-1]] >= dropped
        return jnp.where(kept, x / (1 - dropped / 65536), jnp.zeros_like(x))


class RMSNorm(nn.Module):
    """T5's layer norm: no mean, no bias (Zhang & Sennrich 2019), computed in float32."""

    epsilon: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, 'B T D']) -> Float[Array, 'B T D']:
        ones = logical(nn.initializers.ones_init(), axes.NORM)
        scale = self.param('scale', ones, x.shape[-1:], jnp.float32)
        x = x.astype(jnp.float32)
        variance = jnp.mean(x * x, axis=-1, keepdims=True)
        return (x * jax.lax.rsqrt(variance + self.epsilon) * scale).astype(self.dtype)


class Embedding(nn.Module):
    """A table of `vocab_size + vocab_padding` rows; the padding rows are zero and stay zero.

    v1.1's `lm_head` is a second one of these, used by `attend` alone.
    """

    config: T5Config

    def setup(self):
        c = self.config
        self.embedding = self.param(
            'embedding',
            logical(self._init, axes.VOCAB, axes.EMBED),
            (c.vocab_size + c.vocab_padding, c.d_model),
            jnp.float32,
        )

    def _init(self, key, shape, dtype):
        rows = jax.random.normal(key, (self.config.vocab_size, shape[1]), dtype)
        return jnp.pad(rows, ((0, self.config.vocab_padding), (0, 0)))

    def __call__(self, ids: Int[Array, 'B T']) -> Float[Array, 'B T D']:
        """Rows of the table in compute dtype. An id outside the table gives NaN, not a wrong row."""
        # A gather from a table sharded along D too would make the partitioner replicate it.
        table = axes.constrain(self.embedding, axes.VOCAB, None)
        rows = jnp.take(table, ids, axis=0, mode='fill').astype(self.config.dtype)
        return axes.constrain(rows, axes.BATCH, axes.LENGTH, axes.ACTIVATION_EMBED)

    def attend(self, x: Float[Array, 'B T D']) -> Float[Array, 'B T V+P']:
        """Float32 products of `x` with every row; those of padding rows are -1e9."""
        scores = einsum('btd,vd->btv', x, self.embedding, self.config.dtype)
        scores = axes.constrain(scores, axes.BATCH, axes.LENGTH, axes.ACTIVATION_VOCAB)
        if not self.config.vocab_padding:
            return scores
        return jnp.where(jnp.arange(scores.shape[-1]) < self.config.vocab_size, scores, -1e9)


class FeedForward(nn.Module):
    """relu(x wi) wo in v1.0; (gelu(x wi_0) * x wi_1) wo in v1.1, gelu by its tanh form."""

    config: T5Config
    deterministic: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, 'B T D']) -> Float[Array, 'B T D']:
        c = self.config
        wi = partial(Dense, (c.d_model, c.d_ff), (axes.EMBED, axes.MLP), c.d_model**-0.5, c.dtype)
        if c.feed_forward_proj == 'relu':
            h = nn.relu(wi(name='wi')(x))
        else:
            h = nn.gelu(wi(name='wi_0')(x), approximate=True) * wi(name='wi_1')(x)
        h = axes.constrain(h, axes.BATCH, axes.LENGTH, axes.ACTIVATION_MLP)
        h = Dropout(c.dropout_rate, self.deterministic)(h)
        wo = Dense((c.d_ff, c.d_model), (axes.MLP, axes.EMBED), c.d_ff**-0.5, c.dtype, name='wo')
        return wo(h)

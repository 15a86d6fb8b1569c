"""Multi-head attention of T5: unscaled dot products, an additive bias, softmax in float32."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jaxtyping import Bool, Float

from fsa_jax.configs import T5Config
from fsa_jax.model import axes
from fsa_jax.model.layers import Dense, Dropout
from fsa_jax.model.products import einsum


class KeysValues(NamedTuple):
    """What attention reads of its memory: its positions, or the slots of a decoding cache.

    Heads come before positions: the order in which a product over each head reads memory in
    sequence. The other order made a decoding step of t5-small 1.7 times slower on a CPU.
    """

    keys: Float[Array, 'B H S K']
    values: Float[Array, 'B H S K']


class Attention(nn.Module):
    """q, k, v and output projections, kept as separate matrices [D, H*K] and [H*K, D]."""

    config: T5Config
    deterministic: bool = True

    def setup(self):
        c = self.config
        inner = c.num_heads * c.d_kv
        project = partial(Dense, (c.d_model, inner), (axes.EMBED, axes.JOINED_KV), dtype=c.dtype)
        # T5 has the 1/sqrt(d_kv) of attention in the query's initial scale.
        self.query = project(std=(c.d_model * c.d_kv) ** -0.5)
        self.key = project(std=c.d_model**-0.5)
        self.value = project(std=c.d_model**-0.5)
        self.out = Dense(
            (inner, c.d_model), (axes.JOINED_KV, axes.EMBED), inner**-0.5, dtype=c.dtype
        )
        self.dropout = Dropout(c.dropout_rate, self.deterministic)

    def _heads(self, x: Float[Array, 'B T _']) -> Float[Array, 'B T H K']:
        x = x.reshape(*x.shape[:2], self.config.num_heads, self.config.d_kv)
        names = (axes.BATCH, axes.LENGTH, axes.ACTIVATION_HEADS, axes.ACTIVATION_KV)
        return axes.constrain(x, *names)

    def project(self, memory: Float[Array, 'B S D']) -> KeysValues:
        """Keys and values of what is attended to."""
        keys, values = self._heads(self.key(memory)), self._heads(self.value(memory))
        return KeysValues(keys.swapaxes(1, 2), values.swapaxes(1, 2))

    def __call__(
        self,
        x: Float[Array, 'B T D'],
        memory: KeysValues,
        mask: Bool[Array, '#B 1 #T S'],
        bias: Float[Array, '#B H T S'] | None = None,
    ) -> Float[Array, 'B T D']:
        """Attention of `x` to `memory` where `mask` is True. A row that may see nothing averages all."""
        dtype = self.config.dtype
        logits = einsum('bthk,bhsk->bhts', self._heads(self.query(x)), memory.keys, dtype)
        if bias is not None:
            logits = logits + bias
        weights = jax.nn.softmax(jnp.where(mask, logits, -1e9), axis=-1).astype(dtype)
        weights = self.dropout(weights)
        heads = einsum('bhts,bhsk->bthk', weights, memory.values, dtype).astype(dtype)
        return self.out(heads.reshape(*x.shape[:2], -1))

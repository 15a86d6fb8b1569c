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
from fsa_jax.model.layers import Dense
from fsa_jax.model.products import einsum


class KeysValues(NamedTuple):
    """What attention reads of its memory: a row per position, or the slots of a decoding cache."""

    keys: Float[Array, 'B S H K']
    values: Float[Array, 'B S H K']


class Attention(nn.Module):
    """q, k, v and output projections, kept as separate matrices [D, H*K] and [H*K, D]."""

    config: T5Config
    deterministic: bool = True

    def setup(self):
        c = self.config
        inner = c.num_heads * c.d_kv
        project = partial(Dense, (c.d_model, inner), (axes.EMBED, axes.JOINED_KV), dtype=c.dtype)
        # Adafactor-era T5 folds the 1/sqrt(d_kv) of attention into the query's initial scale.
        self.query = project(std=(c.d_model * c.d_kv) ** -0.5)
        self.key = project(std=c.d_model**-0.5)
        self.value = project(std=c.d_model**-0.5)
        self.out = Dense(
            (inner, c.d_model), (axes.JOINED_KV, axes.EMBED), inner**-0.5, dtype=c.dtype
        )
        self.dropout = nn.Dropout(c.dropout_rate, deterministic=self.deterministic)

    def _heads(self, x: Float[Array, 'B T _']) -> Float[Array, 'B T H K']:
        x = x.reshape(*x.shape[:2], self.config.num_heads, self.config.d_kv)
        names = (axes.BATCH, axes.LENGTH, axes.ACTIVATION_HEADS, axes.ACTIVATION_KV)
        return axes.constrain(x, *names)

    def project(self, memory: Float[Array, 'B S D']) -> KeysValues:
        """Keys and values of what is attended to."""
        return KeysValues(self._heads(self.key(memory)), self._heads(self.value(memory)))

    def __call__(
        self,
        x: Float[Array, 'B T D'],
        memory: KeysValues,
        mask: Bool[Array, '#B 1 #T S'],
        bias: Float[Array, '#B H T S'] | None = None,
    ) -> Float[Array, 'B T D']:
        """Attention of `x` to `memory` where `mask` is True. A row that may see nothing averages all."""
        dtype = self.config.dtype
        logits = einsum('bthk,bshk->bhts', self._heads(self.query(x)), memory.keys, dtype)
        if bias is not None:
            logits = logits + bias
        weights = jax.nn.softmax(jnp.where(mask, logits, -1e9), axis=-1).astype(dtype)
        weights = self.dropout(weights)
        heads = einsum('bhts,bshk->bthk', weights, memory.values, dtype).astype(dtype)
        return self.out(heads.reshape(*x.shape[:2], -1))

"""A T5 block: self-attention, cross-attention in the decoder, feed-forward; and a stack of blocks."""

from functools import partial

import jax
from flax import linen as nn
from jax import Array
from jaxtyping import Bool, Float, Int

from fsa_jax.configs import T5Config
from fsa_jax.model import axes
from fsa_jax.model.attention import Attention, KeysValues
from fsa_jax.model.layers import SAVED, Dropout, FeedForward, RMSNorm
from fsa_jax.model.relative_bias import RelativeBias

_REMAT_POLICIES = {
    'minimal': jax.checkpoint_policies.save_only_these_names(SAVED),
    'full': jax.checkpoint_policies.nothing_saveable,
}


class Block(nn.Module):
    """x + sublayer(norm(x)) for each sublayer, with dropout on what is added."""

    config: T5Config
    decoder: bool
    deterministic: bool = True

    def setup(self):
        c = self.config
        self.dropout = Dropout(c.dropout_rate, self.deterministic)
        self.self_attention_norm = RMSNorm(c.layer_norm_epsilon, c.dtype)
        self.self_attention = Attention(c, self.deterministic)
        if self.decoder:
            self.cross_attention_norm = RMSNorm(c.layer_norm_epsilon, c.dtype)
            self.cross_attention = Attention(c, self.deterministic)
        self.mlp_norm = RMSNorm(c.layer_norm_epsilon, c.dtype)
        self.mlp = FeedForward(c, self.deterministic)

    def __call__(
        self,
        x: Float[Array, 'B T D'],
        mask: Bool[Array, '#B 1 #T T'],
        bias: Float[Array, '#B H T T'],
        encoded: Float[Array, 'B S D'] | None = None,
        cross_mask: Bool[Array, 'B 1 #T S'] | None = None,
    ) -> tuple[Float[Array, 'B T D'], None]:
        """All positions at once. The None is what a scan over blocks collects."""
        normed = self.self_attention_norm(x)
        memory = self.self_attention.project(normed)
        x = self._add(x, self.self_attention(normed, memory, mask, bias))
        cross = None if encoded is None else self.project_encoded(encoded)
        return self._after_self_attention(x, cross, cross_mask), None

    def step(
        self,
        x: Float[Array, 'N 1 D'],
        cache: KeysValues,
        index: Int[Array, ''],
        mask: Bool[Array, '1 1 1 T'],
        bias: Float[Array, '1 H 1 T'],
        cross: KeysValues,
        cross_mask: Bool[Array, 'B 1 1 S'],
    ) -> tuple[Float[Array, 'N 1 D'], KeysValues]:
        """One position of the decoder; its keys and values enter `cache` [N, H, T, K] at `index`."""
        normed = self.self_attention_norm(x)
        new = self.self_attention.project(normed)
        write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=index, axis=2)
        cache = KeysValues(write(cache.keys, new.keys), write(cache.values, new.values))
        x = self._add(x, self.self_attention(normed, cache, mask, bias))
        return self._after_self_attention(x, cross, cross_mask), cache

    def project_encoded(self, encoded: Float[Array, 'B S D']) -> KeysValues:
        """Cross-attention keys and values."""
        return self.cross_attention.project(encoded)

    def _after_self_attention(self, x, cross, cross_mask):
        if cross is not None:
            # Beams of one input are N / B queries to the same keys.
            queries = self.cross_attention_norm(x).reshape(cross.keys.shape[0], -1, x.shape[-1])
            x = self._add(x, self.cross_attention(queries, cross, cross_mask).reshape(x.shape))
        return self._add(x, self.mlp(self.mlp_norm(x)))

    def _add(self, x: Float[Array, 'B T D'], y: Float[Array, 'B T D']) -> Float[Array, 'B T D']:
        x = x + self.dropout(y)
        return axes.constrain(x, axes.BATCH, axes.LENGTH, axes.ACTIVATION_EMBED)


class Stack(nn.Module):
    """The encoder or the decoder: dropout, blocks, final norm, dropout.

    Blocks are one scanned module, so their parameters and RNGs have a leading axis L whatever
    `unroll` and `remat` say. The relative bias is computed once and shared by all blocks.
    """

    config: T5Config
    decoder: bool

    def setup(self):
        self.relative_attention_bias = RelativeBias(self.config, bidirectional=not self.decoder)
        self.final_norm = RMSNorm(self.config.layer_norm_epsilon, self.config.dtype)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'B T D'],
        mask: Bool[Array, '#B 1 #T T'],
        positions: Int[Array, 'B T'] | None,
        encoded: Float[Array, 'B S D'] | None = None,
        cross_mask: Bool[Array, 'B 1 #T S'] | None = None,
        *,
        deterministic: bool,
    ) -> Float[Array, 'B T D']:
        dropout = Dropout(self.config.dropout_rate, deterministic)
        if positions is None:
            bias = self.relative_attention_bias(x.shape[1])
        else:
            bias = self.relative_attention_bias.at(positions)
        blocks = self._blocks()(self.config, self.decoder, deterministic, name='layers')
        x, _ = blocks(dropout(x), mask, bias, encoded, cross_mask)
        return dropout(self.final_norm(x))

    def _blocks(self):
        c = self.config
        length = c.num_decoder_layers if self.decoder else c.num_layers
        block = Block
        if c.remat != 'none':
            # Inside a loop nothing can be merged with the forward pass; unrolled it could.
            block = nn.remat(block, policy=_REMAT_POLICIES[c.remat], prevent_cse=c.unroll)
        return nn.scan(
            block,
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            in_axes=nn.broadcast,
            length=length,
            unroll=length if c.unroll else 1,
            metadata_params={nn.PARTITION_NAME: axes.LAYERS},
        )

"""T5 v1.0 and v1.1 (Raffel et al. 2020; Shazeer 2020) as pure functions of (params, inputs).

    model = T5(config)
    params = init_params(config, jax.random.key(0))
    logits = model.apply({'params': params}, encoder_input_tokens=…, decoder_input_tokens=…)

Training adds `deterministic=False, rngs={'dropout': key}`. A loss that never holds [B, T, V] uses
`method='hidden'` and then `method='logits'` (or `'padded_logits'`) on pieces of it. Generation has
an explicit cache: decoding.py. There are no mutable collections: `apply` may be vmapped over a
leading axis of params.

The tree of parameters, float32, layers always stacked; shapes in the letters of axes.py:

    token_embedder/embedding                                        [V + vocab_padding, D]
    {encoder,decoder}/relative_attention_bias/embedding             [buckets, H]
    {encoder,decoder}/layers/self_attention/{query,key,value}/kernel  [L, D, H*K]
    {encoder,decoder}/layers/self_attention/out/kernel              [L, H*K, D]
    {encoder,decoder}/layers/self_attention_norm/scale              [L, D]
    decoder/layers/cross_attention/…, cross_attention_norm/…        as self_attention
    {encoder,decoder}/layers/mlp/wi/kernel                          [L, D, F]   v1.0
    {encoder,decoder}/layers/mlp/{wi_0,wi_1}/kernel                 [L, D, F]   v1.1
    {encoder,decoder}/layers/mlp/wo/kernel                          [L, F, D]
    {encoder,decoder}/layers/mlp_norm/scale                         [L, D]
    {encoder,decoder}/final_norm/scale                              [D]
    lm_head/embedding                                               [V + vocab_padding, D]  untied

A Hugging Face Linear weight is the transpose of a kernel; its embeddings are as ours.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jaxtyping import Bool, Float, Int

from fsa_jax.configs import T5Config
from fsa_jax.errors import UserError
from fsa_jax.model.block import Stack
from fsa_jax.model.layers import Embedding

Params = dict[str, Any]


class T5(nn.Module):
    """An encoder-decoder.

    Tokens are int32, 0 is padding. Segment ids (int32, 0 in empty slots) say that a row holds
    several pairs: attention stays within equal ids, and they come for both sides or for none.
    Without them, id 0 in the encoder input is padding, and nothing attends to it. Positions
    (int32) give the relative positions; without them those are differences of slots, which is the
    same, and cheaper, wherever the tokens of a pair are contiguous.
    """

    config: T5Config

    def setup(self):
        self.token_embedder = Embedding(self.config)
        self.encoder = Stack(self.config, decoder=False)
        self.decoder = Stack(self.config, decoder=True)
        if not self.config.tie_word_embeddings:
            self.lm_head = Embedding(self.config)

    def __call__(
        self,
        encoder_input_tokens: Int[Array, 'B S'],
        decoder_input_tokens: Int[Array, 'B T'],
        encoder_segment_ids: Int[Array, 'B S'] | None = None,
        decoder_segment_ids: Int[Array, 'B T'] | None = None,
        encoder_positions: Int[Array, 'B S'] | None = None,
        decoder_positions: Int[Array, 'B T'] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, 'B T V']:
        """Float32 logits of each next target token, `vocab_size` a position."""
        hidden = self.hidden(
            encoder_input_tokens,
            decoder_input_tokens,
            encoder_segment_ids,
            decoder_segment_ids,
            encoder_positions,
            decoder_positions,
            deterministic=deterministic,
        )
        return self.logits(hidden)

    def hidden(
        self,
        encoder_input_tokens: Int[Array, 'B S'],
        decoder_input_tokens: Int[Array, 'B T'],
        encoder_segment_ids: Int[Array, 'B S'] | None = None,
        decoder_segment_ids: Int[Array, 'B T'] | None = None,
        encoder_positions: Int[Array, 'B S'] | None = None,
        decoder_positions: Int[Array, 'B T'] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, 'B T D']:
        """The decoder's output, after its final norm and dropout, in compute dtype."""
        encoded = self.encode(
            encoder_input_tokens,
            encoder_segment_ids,
            encoder_positions,
            deterministic=deterministic,
        )
        length = decoder_input_tokens.shape[1]
        mask = jnp.tril(jnp.ones((length, length), bool))[None, None]
        if encoder_segment_ids is None and decoder_segment_ids is None:
            cross_mask = self.padding_mask(encoder_input_tokens)
        elif encoder_segment_ids is not None and decoder_segment_ids is not None:
            mask &= _same_segment(decoder_segment_ids, decoder_segment_ids)
            cross_mask = _same_segment(decoder_segment_ids, encoder_segment_ids)
        else:
            raise UserError(
                'segment ids came for one side only; give both encoder_segment_ids and '
                'decoder_segment_ids, or neither'
            )
        return self.decoder(
            self.token_embedder(decoder_input_tokens),
            mask,
            decoder_positions,
            encoded,
            cross_mask,
            deterministic=deterministic,
        )

    def encode(
        self,
        encoder_input_tokens: Int[Array, 'B S'],
        encoder_segment_ids: Int[Array, 'B S'] | None = None,
        encoder_positions: Int[Array, 'B S'] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, 'B S D']:
        """The encoder's output, in compute dtype."""
        if encoder_segment_ids is None:
            mask = self.padding_mask(encoder_input_tokens)
        else:
            mask = _same_segment(encoder_segment_ids, encoder_segment_ids)
        x = self.token_embedder(encoder_input_tokens)
        return self.encoder(x, mask, encoder_positions, deterministic=deterministic)

    def padding_mask(self, encoder_input_tokens: Int[Array, 'B S']) -> Bool[Array, 'B 1 1 S']:
        """True where there is a token."""
        return (encoder_input_tokens != self.config.pad_token_id)[:, None, None, :]

    def logits(self, hidden: Float[Array, 'B T D']) -> Float[Array, 'B T V']:
        """Float32 logits, exactly `vocab_size` a position."""
        return self.padded_logits(hidden)[..., : self.config.vocab_size]

    def padded_logits(self, hidden: Float[Array, 'B T D']) -> Float[Array, 'B T V+P']:
        """Float32 logits of all rows of the table, -1e9 for those of `vocab_padding`.

        The softmax is that of `logits`; the vocabulary axis stays evenly sharded.
        """
        if not self.config.tie_word_embeddings:
            return self.lm_head.attend(hidden)
        # The rescaling of Mesh TensorFlow's T5 where the table is shared.
        return self.token_embedder.attend(hidden.astype(jnp.float32) * self.config.d_model**-0.5)

    def embed(self, decoder_input_tokens: Int[Array, 'B T']) -> Float[Array, 'B T D']:
        """Rows of the table, as a decoding step takes them."""
        return self.token_embedder(decoder_input_tokens)

    def decoder_bias(self, length: int) -> Float[Array, '1 H T T']:
        """The relative bias that all decoder blocks share."""
        return self.decoder.relative_attention_bias(length)

    def decoder_norm(self, x: Float[Array, 'B T D']) -> Float[Array, 'B T D']:
        """The decoder's final norm."""
        return self.decoder.final_norm(x)


def _same_segment(queries: Int[Array, 'B T'], keys: Int[Array, 'B S']) -> Bool[Array, 'B 1 T S']:
    return queries[:, None, :, None] == keys[:, None, None, :]


def _init_boxed(config: T5Config, key: Array) -> Params:
    tokens = jnp.zeros((1, 1), jnp.int32)
    return T5(config).init(key, tokens, tokens)['params']


@partial(jax.jit, static_argnums=0)  # which drops the forward pass that `init` traces
def init_params(config: T5Config, key: Array) -> Params:
    """Float32 parameters, drawn as Mesh TensorFlow's T5 does (transformers' `_init_weights`).

    Pure: jit it with out_shardings to make a large model in place, or eval_shape it.
    """
    return nn.meta.unbox(_init_boxed(config, key))


@cache  # a trace of the model takes a third of a second, and a run asks for both of these often
def _abstract_boxes(config: T5Config) -> dict[str, Any]:
    return jax.eval_shape(partial(_init_boxed, config), jax.random.key(0))


def _of_boxes(what: Callable[[nn.LogicallyPartitioned], Any], config: T5Config) -> dict[str, Any]:
    boxed = _abstract_boxes(config)
    return jax.tree.map(what, boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))


def abstract_params(config: T5Config) -> Params:
    """Shapes and dtypes of the tree of `init_params`."""
    return _of_boxes(lambda box: jax.ShapeDtypeStruct(box.value.shape, box.value.dtype), config)


def param_axes(config: T5Config) -> dict[str, Any]:
    """The tree of `init_params` with a tuple of logical axis names (axes.py) for each parameter."""
    return _of_boxes(lambda box: box.names, config)

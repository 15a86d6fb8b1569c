"""Decoding one token at a time: what is fixed, the cache, and the step between two caches.

    fixed = start(config, params, encoder_input_tokens, length)   # encoder and cross K/V, once
    cache = init_cache(config, batch, length)
    for index in range(length):                                   # or inside lax.while_loop
        logits, cache = decode_step(config, fixed, cache, tokens, index)

`batch` is N sequences: as many as inputs (N = B), or k beams of each (N = k * B, the beams of an
input adjacent). Beams share the cross-attention of their input; reordering them is
`jax.tree.map(lambda x: x[order], cache)`.

Layers are unstacked here, once and outside the loop, and each layer's cache is an array of its own:
on a CPU a scan over stacked layers copies both in every step (1.75 times slower when tried).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jaxtyping import Bool, Float, Int

from fsa_jax.configs import T5Config
from fsa_jax.model.attention import KeysValues
from fsa_jax.model.block import Block
from fsa_jax.model.t5 import T5, Params

Cache = tuple[KeysValues, ...]  # one a decoder layer, each [N, H, T, K] in compute dtype


class Fixed(NamedTuple):
    """What every step reads and none changes; a pytree, to be closed over or carried."""

    params: Params  # without the encoder; 'decoder/layers' is a tuple of single layers
    cross: tuple[KeysValues, ...]  # one a decoder layer, each [B, H, S, K]
    cross_mask: Bool[Array, 'B 1 1 S']
    bias: Float[Array, '1 H T T']


def start(
    config: T5Config, params: Params, encoder_input_tokens: Int[Array, 'B S'], length: int
) -> Fixed:
    """Encodes the inputs (id 0 is padding) for at most `length` decoding steps."""
    model, block = T5(config), Block(config, decoder=True)
    used = _cast_matrices({k: x for k, x in params.items() if k != 'encoder'}, config.dtype)
    layers = _unstack(used['decoder']['layers'], config.num_decoder_layers)
    encoded = _apply(model, params, encoder_input_tokens, method='encode')
    return Fixed(
        params=used | {'decoder': used['decoder'] | {'layers': layers}},
        cross=tuple(_apply(block, layer, encoded, method='project_encoded') for layer in layers),
        cross_mask=model.padding_mask(encoder_input_tokens),
        bias=_apply(model, params, length, method='decoder_bias'),
    )


def init_cache(config: T5Config, batch: int, length: int) -> Cache:
    """An empty cache of `length` slots for each of `batch` sequences."""
    shape = (batch, config.num_heads, length, config.d_kv)
    zeros = jnp.zeros(shape, config.dtype)
    return tuple(KeysValues(zeros, zeros) for _ in range(config.num_decoder_layers))


def decode_step(
    config: T5Config,
    fixed: Fixed,
    cache: Cache,
    tokens: Int[Array, 'N'],
    index: Int[Array, ''] | int,
) -> tuple[Float[Array, 'N V'], Cache]:
    """Float32 logits of what follows `tokens`, the ids at position `index` of all N sequences.

    Slots before `index` must hold the steps before it; later ones may hold anything.
    """
    model, block, after = T5(config), Block(config, decoder=True), []
    length = fixed.bias.shape[-1]
    mask = (jnp.arange(length) <= index)[None, None, None]
    bias = jax.lax.dynamic_slice_in_dim(fixed.bias, index, 1, axis=2)
    x = _apply(model, fixed.params, tokens[:, None], method='embed')
    layers = fixed.params['decoder']['layers']
    for layer, slots, cross in zip(layers, cache, fixed.cross, strict=True):
        inputs = (x, slots, index, mask, bias, cross, fixed.cross_mask)
        x, slots = _apply(block, layer, *inputs, method='step')
        after.append(slots)
    hidden = _apply(model, fixed.params, x, method='decoder_norm')
    return _apply(model, fixed.params, hidden, method='logits')[:, 0], tuple(after)


def _apply(module: nn.Module, params: Params, *inputs, method: str) -> Any:
    return module.apply({'params': params}, *inputs, method=method)


def _unstack(layers: Params, count: int) -> tuple[Params, ...]:
    return tuple(jax.tree.map(lambda x, i=i: x[i], layers) for i in range(count))


def _cast_matrices(params: Params, dtype: str) -> Params:
    """Matrices in compute dtype, as every product takes them; scales of norms stay float32."""

    def cast(path, x):
        return x if path[-1].key == 'scale' else x.astype(dtype)

    return jax.tree_util.tree_map_with_path(cast, params)

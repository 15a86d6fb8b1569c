"""Cross-entropy over the vocabulary, in pieces: the float32 logits [B, T, V] never exist at once."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

# Tokens of one device whose logits exist at once. On a CPU they should stay near its caches: 512 took
# 1.22 s where 2048 took 1.51 s (and the three products alone 1.07 s; 2048 tokens, D = 256, V = 32128,
# 2 cores). An accelerator wants large products: 8192 are 1 GB of logits; not measured there.
CPU_CHUNK_TOKENS, CHUNK_TOKENS = 512, 8192


class Objective(NamedTuple):
    """What is minimised for one token besides its cross-entropy.

    `label_smoothing` a: the target is (1 - a) of one-hot and a of uniform over `vocab_size`.
    `z_loss`: weight of log(Z)^2, which keeps the softmax normaliser near 1 (Mesh TensorFlow).
    """

    vocab_size: int
    label_smoothing: float = 0.0
    z_loss: float = 0.0


def token_losses(
    logits: Float[Array, '*B V+P'], targets: Int[Array, '*B'], objective: Objective
) -> tuple[Float[Array, '*B'], Float[Array, '*B']]:
    """(objective, plain cross-entropy) of each token, in nats.

    Columns from `vocab_size` on are padding of the vocabulary and hold -1e9.
    """
    vocabulary = jnp.arange(logits.shape[-1])
    # A comparison, not a gather: it stays local where the vocabulary axis is sharded.
    target = jnp.sum(jnp.where(vocabulary == targets[..., None], logits, 0.0), axis=-1)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    cross_entropy = log_z - target
    loss = cross_entropy
    if objective.label_smoothing:
        real = jnp.where(vocabulary < objective.vocab_size, logits, 0.0)
        uniform = log_z - jnp.sum(real, axis=-1) / objective.vocab_size
        loss += objective.label_smoothing * (uniform - cross_entropy)
    if objective.z_loss:
        loss += objective.z_loss * jnp.square(log_z)
    return loss, cross_entropy


class _Static(NamedTuple):
    head: Callable[[Any, Array], Array]
    objective: Objective
    chunk: int


def chunked_loss(
    head: Callable[[Any, Float[Array, 'B T D']], Float[Array, 'B T V+P']],
    params: Any,
    hidden: Float[Array, 'B T D'],
    targets: Int[Array, 'B T'],
    weights: Float[Array, 'B T'],
    objective: Objective,
    chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[Float[Array, ''], Float[Array, 'B T']]:
    """(sum of weights * objective, plain cross-entropy of each token [B, T]) of
    `logits = head(params, hidden)`.

    Differentiable in `params` and `hidden` through the sum alone. A differentiated call computes
    the gradients of a piece of T while its logits are there, so nothing is computed twice. A piece
    without a weighted token is skipped; its cross-entropy is given as 0.
    """
    batch, length = targets.shape
    pieces = -(-length // max(1, chunk_tokens // batch))
    chunk = -(-length // pieces)
    padding = pieces * chunk - length
    pad = partial(jnp.pad, pad_width=((0, 0), (0, padding)))
    total, cross_entropy = _chunked(
        _Static(head, objective, chunk),
        params,
        jnp.pad(hidden, ((0, 0), (0, padding), (0, 0))),
        pad(targets),
        pad(weights),
    )
    return total, cross_entropy[:, :length]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chunked(static: _Static, params, hidden, targets, weights):
    def piece(total, inputs):
        def compute():
            return _piece_loss(static, params, *inputs)

        loss, cross_entropy = jax.lax.cond(
            jnp.any(inputs[2] != 0), compute, lambda: (jnp.zeros(()), jnp.zeros(inputs[1].shape))
        )
        return total + loss, cross_entropy

    total, cross_entropy = jax.lax.scan(
        piece, jnp.zeros(()), _split(static.chunk, hidden, targets, weights)
    )
    return total, _join(cross_entropy)


def _chunked_forward(static: _Static, params, hidden, targets, weights):
    value_and_grad = jax.value_and_grad(partial(_piece_loss, static), argnums=(0, 1), has_aux=True)

    def piece(carry, inputs):
        def compute(total, gradient):
            (loss, cross_entropy), (d_params, d_hidden) = value_and_grad(params, *inputs)
            gradient = jax.tree.map(jnp.add, gradient, d_params)
            return (total + loss, gradient), (cross_entropy, d_hidden)

        def skip(total, gradient):
            nothing = jnp.zeros(inputs[1].shape), jnp.zeros_like(inputs[0])
            return (total, gradient), nothing

        return jax.lax.cond(jnp.any(inputs[2] != 0), compute, skip, *carry)

    start = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
    (total, gradient), (cross_entropy, d_hidden) = jax.lax.scan(
        piece, start, _split(static.chunk, hidden, targets, weights)
    )
    return (total, _join(cross_entropy)), (gradient, _join(d_hidden))


def _chunked_backward(static: _Static, gradients, cotangents):
    scale = cotangents[0]
    d_params, d_hidden = jax.tree.map(lambda g: (scale * g).astype(g.dtype), gradients)
    return d_params, d_hidden, None, None


_chunked.defvjp(_chunked_forward, _chunked_backward)


def _piece_loss(static: _Static, params, hidden, targets, weights):
    loss, cross_entropy = token_losses(static.head(params, hidden), targets, static.objective)
    return jnp.sum(loss * weights), cross_entropy


def _split(chunk: int, *arrays: Array) -> tuple[Array, ...]:
    """[B, n * chunk, …] -> [n, B, chunk, …]."""
    return tuple(jnp.moveaxis(x.reshape(x.shape[0], -1, chunk, *x.shape[2:]), 1, 0) for x in arrays)


def _join(x: Array) -> Array:
    """The inverse of `_split`."""
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])

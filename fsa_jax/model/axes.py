"""The glossary: axis letters of array shapes, and logical names of the axes that a mesh may shard.

Letters, as they stand in jaxtyping shapes and einsums:

    B  batch rows            D  d_model: width of the residual stream
    T  target (decoder)      H  attention heads
    S  source (encoder)      K  d_kv: width of one head
    V  vocabulary            F  d_ff: width of the feed-forward layer
    L  layers (stacked)      N  sequences being decoded: B, or B x beams

Logical names carry no mesh: partition.py maps them to mesh axes by rules. Parameters and
activations have different names, so that sharding a weight never silently shards an activation.
"""

import jax
from flax import linen as nn
from jax import Array
from jaxtyping import Int

# Parameters.
LAYERS = 'layers'  # L, the stacked axis
VOCAB = 'vocab'  # V (+ vocab_padding)
EMBED = 'embed'  # D
JOINED_KV = 'joined_kv'  # H * K, sharded by whole heads
MLP = 'mlp'  # F
HEADS = 'heads'  # H of the relative attention bias
BUCKETS = 'relpos_buckets'  # buckets of the relative attention bias
NORM = 'norm'  # D of a layer norm's scale

PARAMETER_AXES = (LAYERS, VOCAB, EMBED, JOINED_KV, MLP, HEADS, BUCKETS, NORM)

# Activations.
BATCH = 'activation_batch'
LENGTH = 'activation_length'
ACTIVATION_EMBED = 'activation_embed'
ACTIVATION_HEADS = 'activation_heads'
ACTIVATION_KV = 'activation_kv'
ACTIVATION_MLP = 'activation_mlp'
ACTIVATION_VOCAB = 'activation_vocab'


def constrain(x: Array, *names: str | None) -> Array:
    """`x` with one logical name per axis, None for an axis that is not sharded.

    Does nothing unless both `flax.linen.logical_axis_rules(rules)` and `jax.set_mesh(mesh)` are in
    force (the deprecated `with mesh:` is silently ignored by flax).
    """
    return nn.with_logical_constraint(x, names)


def manual_axes() -> tuple[str, ...]:
    """Mesh axes of which the program being traced sees one shard (within `jax.shard_map`)."""
    return jax.sharding.get_abstract_mesh().manual_axes


def first_row(rows: int) -> Int[Array, ''] | int:
    """The number, in the whole batch, of the first of the `rows` that the traced program sees."""
    manual = manual_axes()
    return jax.lax.axis_index(manual) * rows if manual else 0

"""Floating-point operations of a T5, counted from shapes: 2 for each multiply-add of a matrix product.

Compilers' own counts take the body of a loop once however often it runs; these are exact for what
the model computes, padding included (no product is skipped). Elementwise work, norms and the
softmax are left out, as is usual for MFU: they are some percent.
"""

from fsa_jax.configs import T5Config


def _attention(c: T5Config, queries: int, keys: int) -> int:
    """Scores and weighted sum of one layer and one row."""
    return 2 * 2 * queries * keys * c.num_heads * c.d_kv


def _projections(c: T5Config, count: int, tokens: int) -> int:
    """`count` of the q, k, v, output projections of one layer."""
    return 2 * count * tokens * c.d_model * c.num_heads * c.d_kv


def _mlp_in(c: T5Config, tokens: int) -> int:
    matrices = 1 if c.feed_forward_proj == 'relu' else 2
    return 2 * matrices * tokens * c.d_model * c.d_ff


def _mlp_out(c: T5Config, tokens: int) -> int:
    return 2 * tokens * c.d_model * c.d_ff


def _logits(c: T5Config, tokens: int) -> int:
    return 2 * tokens * c.d_model * (c.vocab_size + c.vocab_padding)


def _encoder_layer(c: T5Config, source: int) -> int:
    attention = _projections(c, 4, source) + _attention(c, source, source)
    return attention + _mlp_in(c, source) + _mlp_out(c, source)


def _decoder_layer(c: T5Config, source: int, target: int) -> int:
    cross = _projections(c, 2, target) + _projections(c, 2, source)
    return _encoder_layer(c, target) + cross + _attention(c, target, source)


def forward(config: T5Config, batch: int, encoder_length: int, decoder_length: int) -> int:
    """Operations of one forward pass over [batch, encoder_length] and [batch, decoder_length]."""
    row = (
        config.num_layers * _encoder_layer(config, encoder_length)
        + config.num_decoder_layers * _decoder_layer(config, encoder_length, decoder_length)
        + _logits(config, decoder_length)
    )
    return batch * row


def train_step(config: T5Config, batch: int, encoder_length: int, decoder_length: int) -> int:
    """Operations that a training step needs: forward, and twice that for the two gradients of each
    product. What `T5Config.remat` computes again is not in it (MFU counts needed work only)."""
    return 3 * forward(config, batch, encoder_length, decoder_length)


def rematerialised(config: T5Config, batch: int, encoder_length: int, decoder_length: int) -> int:
    """Operations that a training step adds under `T5Config.remat`.

    'full' repeats the layers but for the last product of each, which no gradient reads; 'minimal'
    keeps products with weights and repeats those between activations.
    """
    if config.remat == 'none':
        return 0
    source, target = encoder_length, decoder_length
    if config.remat == 'minimal':
        encoder = _attention(config, source, source)
        decoder = _attention(config, target, target) + _attention(config, target, source)
    else:
        encoder = _encoder_layer(config, source) - _mlp_out(config, source)
        decoder = _decoder_layer(config, source, target) - _mlp_out(config, target)
    return batch * (config.num_layers * encoder + config.num_decoder_layers * decoder)


def decode(config: T5Config, batch: int, encoder_length: int, steps: int, beams: int = 1) -> int:
    """Operations of generating `steps` ids with a cache of `steps` slots, read whole in each step."""
    once = config.num_layers * _encoder_layer(config, encoder_length)
    once += config.num_decoder_layers * _projections(config, 2, encoder_length)
    layer = _projections(config, 6, 1) + _mlp_in(config, 1) + _mlp_out(config, 1)
    layer += _attention(config, 1, steps) + _attention(config, 1, encoder_length)
    step = config.num_decoder_layers * layer + _logits(config, 1)
    return batch * (once + beams * steps * step)

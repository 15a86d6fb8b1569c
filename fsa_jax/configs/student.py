"""The shape of the student, and its vocabulary."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class T5Config(Config):
    """The shape of a T5 student and how it computes. v1.0: relu, tied; v1.1: gated-gelu, untied."""

    vocab_size: int = knob(32128, 'rows of the embedding table, exactly', low=1)
    d_model: int = knob(768, 'width of the residual stream', low=1)
    d_kv: int = knob(64, 'width of one attention head', low=1)
    d_ff: int = knob(3072, 'width of the feed-forward layer', low=1)
    num_layers: int = knob(12, 'encoder layers', low=1)
    num_decoder_layers: int = knob(12, 'decoder layers', low=1)
    num_heads: int = knob(12, 'attention heads', low=1)
    relative_attention_num_buckets: int = knob(32, 'buckets of the relative position bias', low=4)
    relative_attention_max_distance: int = knob(
        128, 'distance beyond which all share one bucket', low=1
    )
    feed_forward_proj: Literal['relu', 'gated-gelu'] = knob(
        'relu', "'relu' is v1.0, 'gated-gelu' is v1.1"
    )
    tie_word_embeddings: bool = knob(True, 'output logits reuse the embedding table (v1.0)')
    layer_norm_epsilon: float = knob(1e-6, 'epsilon of the RMS layer norm', low=0.0)
    dropout_rate: float = knob(0.1, 'dropout rate in training', low=0.0, high=1.0)
    pad_token_id: int = knob(0, 'id of padding', low=0)
    eos_token_id: int = knob(1, 'id of </s>', low=0)
    decoder_start_token_id: int = knob(0, 'first decoder input id', low=0)
    vocab_padding: int = knob(
        0,
        'extra embedding rows for sharding; they stay zero and outside RMS, statistics and counts',
        low=0,
    )
    dtype: Literal['float32', 'bfloat16'] = knob(
        'float32',
        'dtype of activations; weights, norms, softmax and logits stay float32',
        free=True,
    )
    unroll: bool = knob(False, 'unroll the layer scan: faster steps, longer compiles', free=True)
    remat: Literal['none', 'minimal', 'full'] = knob(
        'none',
        "recompute activations in the backward pass: 'minimal' keeps matrix products",
        free=True,
    )

    def check(self):
        # The decoder's first half of the buckets hold a distance each, the others grow up to the farthest.
        exact = self.relative_attention_num_buckets // 2
        if self.relative_attention_max_distance <= exact:
            raise UserError(
                f'T5Config.relative_attention_max_distance={self.relative_attention_max_distance} must be '
                f'above {exact}, half of T5Config.relative_attention_num_buckets'
            )


@dataclass(frozen=True)
class VocabularyConfig(Config):
    """The SentencePiece vocabulary and the `[NL]` token."""

    path: str = knob('', 'spiece.model, or a folder that holds it')
    extra_ids: int = knob(100, 'sentinel ids after the SentencePiece pieces', low=0)
    newline_token: bool = knob(True, 'add [NL] after the sentinels (id 32100 in T5)')
    nl_space: Literal['released', 'plain'] = knob(
        'plain',
        "a space before a newline: 'released' emits an extra word boundary as transformers 4.36 did",
    )

"""Where each tensor of a Hugging Face T5 lives in ours. One map, read in both directions.

`tensors(config)` is the map; `from_hf` and `to_hf` walk it. Ours stacks layers ([L, …], t5.py
shows the tree) and holds a linear map as [in, out]; theirs is one [out, in] tensor a layer:

    encoder.block.3.layer.0.SelfAttention.q.weight  [H*K, D]
        = encoder/layers/self_attention/query/kernel[3].T
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fsa_jax.configs import T5Config

SHARED = 'shared.weight'
HEAD = 'lm_head.weight'
# The same table under other names: files may hold any of them, all alike.
EMBEDDING_ALIASES = ('encoder.embed_tokens.weight', 'decoder.embed_tokens.weight')
# Present in some published files and unused: transformers ignores it as well.
UNUSED = ('decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight',)

_ATTENTION = {'q': 'query', 'k': 'key', 'v': 'value', 'o': 'out'}


@dataclass(frozen=True)
class Tensor:
    """One of their tensors: its name and shape, and its place in our tree.

    `layer` indexes the leading axis of ours (None: not stacked); `transposed` swaps the last two.
    """

    name: str
    path: tuple[str, ...]
    shape: tuple[int, ...]
    layer: int | None = None
    transposed: bool = False


def tensors(config: T5Config) -> list[Tensor]:
    """Every tensor that a model of this config has, without aliases, in file order."""
    table = (config.vocab_size, config.d_model)
    found = [Tensor(SHARED, ('token_embedder', 'embedding'), table)]
    found += _stack(config, 'encoder', config.num_layers)
    found += _stack(config, 'decoder', config.num_decoder_layers)
    if not config.tie_word_embeddings:
        found.append(Tensor(HEAD, ('lm_head', 'embedding'), table))
    return found


def _stack(config: T5Config, stack: str, num_layers: int) -> Iterator[Tensor]:
    sublayers = ['SelfAttention', 'EncDecAttention', 'DenseReluDense']
    if stack == 'encoder':
        sublayers.remove('EncDecAttention')
    yield Tensor(
        f'{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
        (stack, 'relative_attention_bias', 'embedding'),
        (config.relative_attention_num_buckets, config.num_heads),
    )
    for layer in range(num_layers):
        for position, sublayer in enumerate(sublayers):
            prefix = f'{stack}.block.{layer}.layer.{position}'
            ours, kernels = _sublayer(config, sublayer)
            for theirs, name, shape in kernels:
                yield Tensor(
                    f'{prefix}.{sublayer}.{theirs}.weight',
                    (stack, 'layers', ours, name, 'kernel'),
                    shape,
                    layer,
                    transposed=True,
                )
            yield Tensor(
                f'{prefix}.layer_norm.weight',
                (stack, 'layers', f'{ours}_norm', 'scale'),
                (config.d_model,),
                layer,
            )
    yield Tensor(
        f'{stack}.final_layer_norm.weight', (stack, 'final_norm', 'scale'), (config.d_model,)
    )


def _sublayer(config: T5Config, sublayer: str) -> tuple[str, list[tuple[str, str, tuple]]]:
    """Our name of a sublayer, and (their name, our name, their shape) of its linear maps."""
    if sublayer == 'DenseReluDense':
        gates = ['wi'] if config.feed_forward_proj == 'relu' else ['wi_0', 'wi_1']
        kernels = [(gate, gate, (config.d_ff, config.d_model)) for gate in gates]
        return 'mlp', [*kernels, ('wo', 'wo', (config.d_model, config.d_ff))]
    inner = config.num_heads * config.d_kv
    ours = 'self_attention' if sublayer == 'SelfAttention' else 'cross_attention'
    return ours, [
        (
            theirs,
            name,
            (config.d_model, inner) if theirs == 'o' else (inner, config.d_model),
        )
        for theirs, name in _ATTENTION.items()
    ]


def shapes(config: T5Config) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The shape of each of our parameters by its path, as the map has them."""
    depth = {'encoder': config.num_layers, 'decoder': config.num_decoder_layers}
    found = {}
    for tensor in tensors(config):
        shape = tensor.shape[::-1] if tensor.transposed else tensor.shape
        if tensor.layer is not None:
            shape = (depth[tensor.path[0]], *shape)
        elif tensor.name in (SHARED, HEAD):
            shape = (config.vocab_size + config.vocab_padding, config.d_model)
        found[tensor.path] = shape
    return found


def from_hf(config: T5Config, read: Callable[[Tensor], np.ndarray]) -> dict[str, Any]:
    """Our parameters (float32 numpy) from theirs; `read` gives one of their tensors.

    Holds the result and one tensor of theirs at a time. Rows of `vocab_padding` are zero.
    """
    params = {path: np.zeros(shape, np.float32) for path, shape in shapes(config).items()}
    for tensor in tensors(config):
        value = read(tensor)
        ours = params[tensor.path]
        ours = ours[: len(value)] if tensor.layer is None else ours[tensor.layer]
        ours[...] = value.T if tensor.transposed else value
    return unflatten_dict(params)


def to_hf(config: T5Config, params: dict[str, Any]) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Their tensors (float32) from ours, one at a time; rows of `vocab_padding` are left out."""
    flat = flatten_dict(params)
    for tensor in tensors(config):
        array = np.asarray(flat[tensor.path], np.float32)
        array = array[: tensor.shape[0]] if tensor.layer is None else array[tensor.layer]
        yield tensor, np.ascontiguousarray(array.T if tensor.transposed else array)

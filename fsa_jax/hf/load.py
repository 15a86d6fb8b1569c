"""A Hugging Face T5 folder to our config and parameters: safetensors only, no torch, no pickle.

    config, params = load_pretrained('t5-base')

Tensors are read one at a time and become float32. What does not fit is refused by name: nothing is
skipped in silence.
"""

from pathlib import Path
from typing import Any

import numpy as np

from fsa_jax.configs import T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.hf import names, weights

CONFIG = 'config.json'
_REQUIRED = ('vocab_size', 'd_model', 'd_kv', 'd_ff', 'num_layers', 'num_heads')
_OPTIONAL = (
    'num_decoder_layers',
    'relative_attention_num_buckets',
    'relative_attention_max_distance',
    'feed_forward_proj',
    'layer_norm_epsilon',
    'dropout_rate',
    'pad_token_id',
    'decoder_start_token_id',
)


def load_pretrained(folder: Path | str) -> tuple[T5Config, dict[str, Any]]:
    """(config, params) of a published T5, v1.0 or v1.1; params are float32 numpy (model/t5.py).

    UserError for another model type, for a missing, unexpected or misshapen tensor, for tables that
    should be one but differ, for other special ids than T5's, for a truncated file, and for formats
    that are not safetensors.
    """
    folder = Path(folder)
    raw = read_config(folder)
    config = t5_config(raw, folder / CONFIG)
    with weights.opened(folder) as stored:
        if _tied_by_file(raw, config) and names.SHARED in stored:
            stored = {names.HEAD: stored[names.SHARED]} | stored
        stored = _checked(stored, config, folder)
        params = names.from_hf(config, lambda tensor: stored[tensor.name].read())
    if not config.tie_word_embeddings and _scales_outputs(raw):
        # An untied head whose inputs transformers 5 still scales: our weights carry the factor.
        params['lm_head']['embedding'] *= np.float32(config.d_model**-0.5)
    return config, params


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder; where there is none, UserError says what the folder holds."""
    if not folder.is_dir():
        raise UserError(f'{folder} is not a folder; expected one with {CONFIG} and *.safetensors')
    if (folder / CONFIG).is_file():
        return weights.read_json(folder / CONFIG)
    if (folder / 'checkpoint').is_file() or any(folder.glob('target.*')):
        raise UserError(
            f'{folder} is a t5x checkpoint, which is not read; convert it to a Hugging Face folder '
            'with safetensors first (transformers 4 has convert_t5x_checkpoint_to_pytorch.py)'
        )
    raise UserError(f'{folder} is no Hugging Face model: it has no {CONFIG}')


def t5_config(raw: dict[str, Any], path: Path) -> T5Config:
    """The T5Config that config.json (`raw`, at `path`) describes."""
    kind = raw.get('model_type')
    if kind != 't5':
        raise UserError(f"{path}: model_type must be 't5'; got {kind!r}, which is another model")
    missing = [name for name in _REQUIRED if raw.get(name) is None]
    if missing:
        raise UserError(f'{path} lacks {missing[0]!r}')
    values = {n: raw[n] for n in (*_REQUIRED, *_OPTIONAL) if raw.get(n) is not None}
    values.setdefault('num_decoder_layers', values['num_layers'])
    end = raw.get('eos_token_id', 1)
    try:
        config = T5Config(
            **values,
            eos_token_id=end[0] if isinstance(end, list) else end,
            tie_word_embeddings=raw.get('tie_word_embeddings', True) and _scales_outputs(raw),
        )
        Vocabulary.check_ids(config)
    except UserError as error:
        raise UserError(f'{path}: {error}') from None
    return config


def _scales_outputs(raw: dict[str, Any]) -> bool:
    # transformers 5 writes tie_word_embeddings=true for every T5, and this field tells v1.1 apart.
    return raw.get('scale_decoder_outputs', raw.get('tie_word_embeddings', True))


def _tied_by_file(raw: dict[str, Any], config: T5Config) -> bool:
    """Whether transformers 5 may have left out the head of a v1.1 model, as that is the shared table."""
    return not config.tie_word_embeddings and raw.get('tie_word_embeddings') is True


def _checked(
    stored: dict[str, weights.Stored], config: T5Config, folder: Path
) -> dict[str, weights.Stored]:
    """`stored` with the table under its own name, once every tensor has been found to fit."""
    stored = dict(stored)
    for alias in names.EMBEDDING_ALIASES:
        if alias in stored:
            stored.setdefault(names.SHARED, stored[alias])
    expected = {tensor.name: tensor for tensor in names.tensors(config)}
    for name, tensor in expected.items():
        if name not in stored:
            raise UserError(f'{folder} lacks tensor {name!r}, of shape {list(tensor.shape)}')
        stored[name].check(tensor.shape)
    for name in sorted(stored.keys() - expected.keys() - set(names.UNUSED)):
        _check_alias(stored[name], stored[names.SHARED], config)
    return stored


def _check_alias(found: weights.Stored, shared: weights.Stored, config: T5Config) -> None:
    """A tensor beyond those expected must be the table of embeddings once more."""
    tied_head = found.name == names.HEAD and config.tie_word_embeddings
    if found.name not in names.EMBEDDING_ALIASES and not tied_head:
        raise UserError(
            f'{found.path}: unexpected tensor {found.name!r}: {CONFIG} describes a model without it '
            '(num_layers, num_decoder_layers, feed_forward_proj)'
        )
    if not np.array_equal(found.read(), shared.read()):
        why = f'{CONFIG} ties them (tie_word_embeddings)' if tied_head else 'T5 has one table'
        raise UserError(f'{found.path}: tensor {found.name!r} differs from {shared.name!r}; {why}')

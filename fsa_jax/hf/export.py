"""Our config and parameters to a folder that transformers loads: safetensors, no torch.

save_pretrained('student', config, params, vocabulary)
AutoModelForSeq2SeqLM.from_pretrained('student'), AutoTokenizer.from_pretrained('student')
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsa_jax.configs import T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.hf import names, tokenizer, weights
from fsa_jax.partition import check_params


def save_pretrained(
    folder: Path | str,
    config: T5Config,
    params: dict[str, Any],
    vocabulary: Vocabulary | None = None,
    *,
    shard_gb: float = 5.0,
    card: str = '',
) -> None:
    """Writes config.json, generation_config.json and float32 safetensors of at most `shard_gb` GB.

    With a vocabulary the tokenizer's files too, `card` is the text of README.md. `params` is the
    tree of model/t5.py, numpy or jax; rows of `vocab_padding` are not exported. All files are
    written beside `folder` first; one that exists keeps its other files.
    UserError names a parameter whose shape is not that of `config`.
    """
    if vocabulary is not None and vocabulary.size > config.vocab_size:
        raise UserError(
            f'the vocabulary needs {vocabulary.size} rows, but T5Config.vocab_size='
            f'{config.vocab_size}; is it of another model?'
        )
    check_params(config, params, 'params')
    with _staged(Path(folder)) as work:
        tensors = ((tensor.name, array) for tensor, array in names.to_hf(config, params))
        weights.write(work, tensors, int(shard_gb * 1e9))
        _write_json(work / 'config.json', hf_config(config))
        _write_json(work / 'generation_config.json', _generation_config(config))
        if vocabulary is not None:
            tokenizer.write(work, vocabulary)
        if card:
            (work / 'README.md').write_text(card, encoding='utf-8')


def hf_config(config: T5Config) -> dict[str, Any]:
    """The content of config.json."""
    gated = config.feed_forward_proj == 'gated-gelu'
    return {
        'architectures': ['T5ForConditionalGeneration'],
        'model_type': 't5',
        'is_encoder_decoder': True,
        'vocab_size': config.vocab_size,
        'd_model': config.d_model,
        'd_kv': config.d_kv,
        'd_ff': config.d_ff,
        'num_layers': config.num_layers,
        'num_decoder_layers': config.num_decoder_layers,
        'num_heads': config.num_heads,
        'relative_attention_num_buckets': config.relative_attention_num_buckets,
        'relative_attention_max_distance': config.relative_attention_max_distance,
        'feed_forward_proj': config.feed_forward_proj,
        'dense_act_fn': 'gelu_new' if gated else 'relu',
        'is_gated_act': gated,
        'tie_word_embeddings': config.tie_word_embeddings,
        'layer_norm_epsilon': config.layer_norm_epsilon,
        'dropout_rate': config.dropout_rate,
        'initializer_factor': 1.0,
        'use_cache': True,
        'pad_token_id': config.pad_token_id,
        'eos_token_id': config.eos_token_id,
        'decoder_start_token_id': config.decoder_start_token_id,
        'dtype': 'float32',
    }


def _generation_config(config: T5Config) -> dict[str, Any]:
    return {
        'pad_token_id': config.pad_token_id,
        'eos_token_id': config.eos_token_id,
        'decoder_start_token_id': config.decoder_start_token_id,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A sibling to write in, which becomes `folder` when all is written."""
    folder = folder.absolute()  # '.' has no name
    work = folder.with_name(f'.{folder.name}.{os.getpid()}.partial')
    work.mkdir(parents=True)
    try:
        yield work
        if not folder.exists():
            work.rename(folder)
            return
        written = {path.name for path in work.iterdir()}
        for path in work.iterdir():
            path.replace(folder / path.name)
        for path in folder.glob('model*.safetensors*'):
            if path.name not in written:  # shards of an earlier export would be read instead
                path.unlink()
    finally:
        shutil.rmtree(work, ignore_errors=True)

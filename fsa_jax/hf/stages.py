"""Stages `import` and `export`: a Hugging Face folder to a model folder, and back."""

from typing import Any

import jax
import numpy as np

from fsa_jax import manifest
from fsa_jax.configs import ExportConfig, ImportConfig, T5Config
from fsa_jax.errors import UserError
from fsa_jax.hf import hub, tokenizer
from fsa_jax.hf.export import save_pretrained
from fsa_jax.hf.load import load_pretrained
from fsa_jax.hf.model_card import model_card
from fsa_jax.progress import say
from fsa_jax.train.checkpoint import open_model, write_model


def run_import(out: manifest.Output, config: ImportConfig) -> None:
    """Writes the model folder of a published T5, with `[NL]` and the number of rows asked for."""
    if not config.folder:
        raise UserError('ImportConfig.folder is empty; expected a Hugging Face T5 folder')
    folder = out.read('ImportConfig.folder', config.folder)
    t5, params = load_pretrained(folder)
    vocabulary = tokenizer.read(folder, newline_token=config.newline_token)
    rows = config.rows or max(t5.vocab_size, vocabulary.size)
    if t5.vocab_size < vocabulary.size - vocabulary.newline_token:
        raise UserError(
            f'{folder}: its spiece.model needs {vocabulary.size} rows, but the model has only '
            f'{t5.vocab_size}; is spiece.model of another model?'
        )
    if rows < vocabulary.size:
        raise UserError(
            f'ImportConfig.rows={rows} is too few: the vocabulary has {vocabulary.size} ids'
        )
    out.counts['rows_before'] = t5.vocab_size
    t5, params = with_rows(t5, params, rows, config.seed)
    write_model(out.folder, t5, vocabulary, params)
    out.counts['rows'] = rows
    out.counts['parameters'] = sum(leaf.size for leaf in jax.tree.leaves(params))


def with_rows(
    config: T5Config, params: dict[str, Any], rows: int, seed: int
) -> tuple[T5Config, dict[str, Any]]:
    """Config and params whose tables have `rows` rows: cut, or grown by rows drawn from `seed`.

    New rows are normal with the mean and deviation of each column (Hewitt 2021, "Initializing new
    word embeddings for pretrained language models"), so no new id drowns the trained ones.
    """
    tables = ['token_embedder'] if config.tie_word_embeddings else ['token_embedder', 'lm_head']
    random = np.random.default_rng(seed)
    params = dict(params)
    for name in tables:
        table = params[name]['embedding'][:rows]
        new = random.normal(table.mean(0), table.std(0), (rows - len(table), config.d_model))
        params[name] = {'embedding': np.concatenate([table, new.astype(np.float32)])}
    return config.replace(vocab_size=rows), params


def run_export(out: manifest.Output, config: ExportConfig) -> None:
    """Writes a folder that transformers loads, with a model card; uploads it where asked."""
    if not config.model:
        raise UserError('ExportConfig.model is empty; expected a model folder of train or import')
    if config.push_to_hub:
        hub.token()  # a missing one is told before the work
    folder = out.read('ExportConfig.model', config.model)
    for number, path in enumerate(config.scores, 1):
        out.read(f'ExportConfig.scores {number}', path)
    model = open_model(folder)
    step = model.step(config.which, config.seed)
    name = config.push_to_hub or folder.name
    save_pretrained(
        out.folder,
        model.config,
        model.load_params(config.which, seed=config.seed),
        model.vocabulary,
        shard_gb=config.shard_gb,
        card=model_card(name, model, step, config.scores),
    )
    out.counts['step'] = step
    if config.push_to_hub:
        out.counts['uploaded'] = hub.push(out.folder, config.push_to_hub, private=config.private)
        say(f'uploaded: {out.counts["uploaded"]}')

"""What is measured where only speed counts: a T5 with random weights, and real or made texts."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from fsa_jax.configs import T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.hf.export import save_pretrained
from fsa_jax.model.t5 import init_params
from tests.bench import data, harness


def main(description: str, measure: Callable[[argparse.Namespace, Path], None]) -> None:
    """Reads the flags and calls `measure` with them and an empty folder."""
    parser = harness.arguments(description)
    parser.add_argument('--model', choices=('small', 'base'), default='small')
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


class RandomStudent:
    """A T5 v1.0 of the size that the flags ask for, its vocabulary, and what its report says of it."""

    def __init__(self, flags: argparse.Namespace, folder: Path):
        self.vocabulary = Vocabulary(data.vocabulary_path(flags.tiny, folder))
        name = 'toy' if flags.tiny else flags.model
        size = self.vocabulary.size
        self.config = T5Config(**data.MODELS[name], vocab_size=size, dropout_rate=0.0)
        self.name = f'T5 v1.0 {name}, {size} rows, random weights'
        self.rounds = flags.rounds or (1 if flags.tiny else 5)
        if jax.default_backend() != 'cpu':
            # as torch multiplies in float32 there
            jax.config.update('jax_default_matmul_precision', 'float32')
        self.params: Any = jax.jit(init_params, static_argnums=0)(self.config, jax.random.key(0))

    @property
    def endless(self) -> T5Config:
        """The config of a model that never ends: the id that would end it is never chosen."""
        return self.config.replace(eos_token_id=self.config.vocab_size)

    def export(self, folder: Path) -> Path:
        """A Hugging Face folder with these weights."""
        save_pretrained(folder, self.config, self.params)
        return folder

"""A large language model on the benchmark, with demonstrations in its prompt."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class InContextConfig(Config):
    """What the model is asked, about which data, with which demonstrations."""

    mode: Literal['extract', 'sentence', 'aspect'] = knob(
        'extract',
        '(category or term, polarity) pairs of a benchmark dataset; polarity of a text; polarity of a gold target',
    )
    dataset: str = knob(
        'acsa_rest16',
        "extract: acsa_rest16, acsa_laptop16, atsa_rest14, atsa_laptop14 or another's task and name",
    )
    data_dir: str = knob('', 'extract: root of the benchmark data; empty: FSA_DATA_DIR')
    data: str = knob('', 'sentence, aspect: the labelled data, as `fsa zero-shot` reads it')
    text_field: str = knob('sentence', 'column of the text (sentence)')
    label_field: str = knob('label', 'column of the label (sentence)')
    k: int = knob(4, 'demonstrations, from the train split of the dataset', low=0)
    choice: Literal['random', 'bm25'] = knob(
        'random',
        'the same k for all sentences, drawn by seed, or the most similar ones of each by BM25',
    )
    seed: int = knob(0, 'seed of the draw, and of the resamples', low=0)
    json: bool = knob(False, 'answers as JSON, held to a schema; otherwise as text')
    limit: int = knob(0, 'sentences, from the first; 0: all', low=0)
    bootstrap: int = knob(1000, 'resamples of the 95 % intervals; 0: none', low=0)
    prompt_price: float | None = knob(None, 'price of a million prompt tokens', low=0.0, free=True)
    output_price: float | None = knob(None, 'price of a million answer tokens', low=0.0, free=True)
    note: str = knob('', "recorded with the scores, such as 'a random model'")

    def check(self):
        if self.mode == 'extract' and self.task_and_name()[0] not in ('acsa', 'atsa'):
            raise UserError(
                f"InContextConfig.dataset must be 'acsa_…' or 'atsa_…'; got {self.dataset!r}"
            )
        if self.mode != 'extract' and self.k:
            raise UserError(f'InContextConfig.mode={self.mode!r} has no train split: it needs k=0')
        if (self.prompt_price is None) != (self.output_price is None):
            raise UserError('InContextConfig: prompt_price and output_price come together')

    def task_and_name(self) -> tuple[str, str]:
        """('acsa', 'rest16') of 'acsa_rest16'."""
        task, _, name = self.dataset.partition('_')
        return task, name

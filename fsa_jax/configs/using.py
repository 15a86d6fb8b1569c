"""Using and judging a student, and moving it in and out."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class DecodeConfig(Config):
    """How text is generated."""

    method: Literal['greedy', 'beam', 'sample'] = knob('greedy', 'how the next id is chosen')
    max_new_tokens: int = knob(99, 'most ids generated after the start id', low=1)
    task_max_new_tokens: dict[str, int] = knob({}, 'the same by task name, where it differs')
    num_beams: int = knob(4, 'beams (beam)', low=1)
    length_penalty: float = knob(1.0, 'score = log-likelihood / length ** penalty (beam)')
    early_stopping: bool = knob(False, 'stop when num_beams hypotheses are complete (beam)')
    temperature: float = knob(1.0, 'softmax temperature (sample)', low=1e-6)
    top_k: int = knob(0, 'sample among the k likeliest; 0: all', low=0)
    top_p: float = knob(
        1.0, 'sample among the likeliest ids of this total probability', low=0.0, high=1.0
    )
    seed: int = knob(0, 'seed (sample)', low=0)
    dtype: Literal['model', 'float32', 'bfloat16'] = knob(
        'model', "dtype of activations in decoding; 'model': as T5Config.dtype says"
    )
    batch_size: int = knob(64, 'sequences decoded together', low=1, free=True)

    def check(self):
        for task, length in self.task_max_new_tokens.items():
            if length < 1:
                raise UserError(
                    f'DecodeConfig.task_max_new_tokens[{task!r}] must be >= 1; got {length}'
                )


@dataclass(frozen=True)
class PredictConfig(Config):
    """Generate text for a task split or for your own file."""

    model: str = knob('', 'model folder, of train or import')
    which: Literal['auto', 'latest', 'best'] = knob(
        'auto', "'auto': best if the run kept one by metric"
    )
    seed: int | None = knob(None, 'which seed, of a model folder of several (TrainConfig.seeds)')
    data: str = knob('', 'packed folder (a task split), or its URL; or use input')
    tasks: tuple[str, ...] = knob((), 'tasks of the packed folder; empty: all')
    split: str = knob('test', 'split of the packed folder')
    input: str = knob('', 'your own .txt, .jsonl, .csv or .parquet; or use data')
    text_field: str = knob('text', 'column of the text')
    id_field: str = knob('', 'column of the id; empty: the row number')
    task: str = knob('', "name recorded with your own file's rows; picks task_max_new_tokens")
    metric: str = knob(
        '', "what your own file's rows are answered with: 'atsa', 'acsa' or 'atsa:good,bad'"
    )
    constrained: bool = knob(
        False,
        'only texts that the scorer keeps: terms of the sentence, categories of the inventory',
    )
    categories: tuple[str, ...] = knob(
        (), 'the inventory of constrained ACSA: names, or one file with a category a line'
    )
    input_length: int = knob(512, 'most input ids; longer rows are cut and flagged', low=1)
    chunk: int = knob(
        1024, 'rows read, decoded and written together: what a kill can cost', low=1, free=True
    )
    staging: str = knob(
        '',
        'folder of this host for copies of data read from a URL; empty: ~/.cache/fsa_jax/staged',
        free=True,
    )
    compilation_cache: str = knob(
        '', 'folder of compiled programs; empty: ~/.cache/fsa_jax/xla', free=True
    )

    def check(self):
        if self.constrained and self.input and not self.metric:
            raise UserError(
                "PredictConfig.constrained of your own file needs PredictConfig.metric: 'atsa' or 'acsa'"
            )


@dataclass(frozen=True)
class ScoreConfig(Config):
    """Micro F1 of predictions, as published and strict, on every subset."""

    predictions: str = knob('', 'folder of predict')
    bootstrap: int = knob(1000, 'resamples of the 95 % interval; 0: none', low=0)
    seed: int = knob(0, 'seed of the resamples', low=0)
    baseline_data: str = knob(
        '', 'packed folder: the most frequent pair of its train split is the trivial baseline'
    )
    metric_module: str = knob(
        '', "your own 'module:function' from (predictions, golds) to {name: value}"
    )


@dataclass(frozen=True)
class ReportConfig(Config):
    """One page: loss curves, the F1 table, examples with mistakes first."""

    title: str = knob('fsa_jax report', 'title of the page')
    runs: dict[str, str] = knob({}, "training runs to plot: {'name': folder of train}")
    scores: dict[str, str] = knob(
        {}, "rows of the tables: {'name': folder of score, zero-shot or in-context}"
    )
    examples: int = knob(20, 'examples of gold against prediction', low=0)
    resamples: int = knob(
        1000, 'resamples of intervals over seeds and of tests between systems; 0: none', low=0
    )
    packed: tuple[str, ...] = knob(
        (),
        'further packed folders (a corpus) whose inputs are compared with those of the results; '
        'folders that the results were made from are always compared',
    )
    price_per_hour: float = knob(
        0.0,
        'price of an hour of the machine that a student gives labels on (zero-shot), in the currency of '
        'InContextConfig.prompt_price; 0: its cost is not given',
        low=0.0,
    )
    note: str = knob('', "a line under the title, such as 'synthetic data'")


@dataclass(frozen=True)
class ImportConfig(Config):
    """A Hugging Face T5 folder to a model folder that train, predict and export read."""

    folder: str = knob('', 'folder with config.json, *.safetensors and spiece.model')
    newline_token: bool = knob(False, 'add [NL] to the vocabulary as id 32100')
    rows: int = knob(
        0, 'rows of the embedding table; 0: as they are (a new [NL] needs 32101)', low=0
    )
    seed: int = knob(0, 'seed of rows that are added', low=0)


@dataclass(frozen=True)
class ExportConfig(Config):
    """A model folder to a Hugging Face folder."""

    model: str = knob('', 'model folder, of train or import')
    which: Literal['auto', 'latest', 'best'] = knob(
        'auto', "'auto': best if the run kept one by metric"
    )
    seed: int | None = knob(None, 'which seed, of a model folder of several (TrainConfig.seeds)')
    scores: tuple[str, ...] = knob((), 'folders of score to state in the model card')
    shard_gb: float = knob(5.0, 'largest safetensors file, in GB', low=0.001)
    push_to_hub: str = knob(
        '', "repository to upload to, 'owner/name'; the token comes from HF_TOKEN"
    )
    private: bool = knob(True, 'make that repository private')

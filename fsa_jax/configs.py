"""Every knob of fsa_jax: flat, frozen dataclasses that check themselves on construction.

Standard library only, so that `fsa --help` is instant and every layer may read a config. A stage
declares which classes it takes (stages.py); gin builds each of them (gin_registry.py). Every input
folder is a field, so that `config.gin` and `--output` repeat a run.
"""

import dataclasses
import os
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from fsa_jax.errors import UserError, nearest


def knob(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    free: bool = False,
) -> Any:
    """A config field: its default, one line of meaning, and its range (both ends allowed).

    `free` marks a field that may differ when a run resumes (the mesh, logging, profiling): it does
    not change what is computed.
    """
    metadata = {'meaning': meaning, 'low': low, 'high': high, 'free': free}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Config:
    """Base of all configs: types, choices and ranges are checked on construction."""

    def __post_init__(self):
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = _checked(self._name(field), getattr(self, field.name), hints[field.name])
            object.__setattr__(self, field.name, value)
            _check_range(self._name(field), value, field.metadata)
        self.check()

    def check(self):
        """Relations between fields; a subclass raises UserError."""

    @classmethod
    def _name(cls, field) -> str:
        return f'{cls.__name__}.{field.name}'

    def replace(self, **changes):
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def _checked(name: str, value: Any, hint: Any) -> Any:
    """`value` as `hint` wants it (an int becomes a float, a list a tuple), or UserError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            choices = ', '.join(repr(a) for a in args)
            raise UserError(
                f'{name} must be one of {choices}; got {value!r}{nearest(str(value), args)}'
            )
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _checked(name, value, next(a for a in args if a is not type(None)))
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_checked(name, item, args[0]) for item in value)
    if origin is dict and isinstance(value, dict):
        return {_checked(name, k, args[0]): _checked(name, v, args[1]) for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise UserError(f'{name} must be {type_name(hint)}; got {value!r} ({type(value).__name__})')


def _check_range(name: str, value: Any, metadata) -> None:
    low, high = metadata['low'], metadata['high']
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = (
            f'>= {low}' if high is None else f'<= {high}' if low is None else f'in [{low}, {high}]'
        )
        raise UserError(f'{name} must be {bounds}; got {value!r}')


def type_name(hint: Any) -> str:
    """A type as `fsa STAGE --help` shows it: `int`, `'a' | 'b'`, `list of str`, `int or None`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return ' | '.join(repr(a) for a in args)
    if origin in (types.UnionType, typing.Union):
        return ' or '.join('None' if a is type(None) else type_name(a) for a in args)
    if origin is tuple:
        return f'list of {type_name(args[0])}'
    if origin is dict:
        return f'dict of {type_name(args[0])}: {type_name(args[1])}'
    return hint.__name__


def to_gin(configs) -> str:
    """The resolved configs as gin text, every field written out: running from it repeats the run."""
    lines = []
    for config in configs:
        lines.append(f'# {type(config).__name__}')
        for field in dataclasses.fields(config):
            lines.append(f'{type(config).__name__}.{field.name} = {getattr(config, field.name)!r}')
        lines.append('')
    return '\n'.join(lines)


# ---------------------------------------------------------------------------------------------
# The student


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
    relative_attention_num_buckets: int = knob(32, 'buckets of the relative position bias', low=2)
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


# ---------------------------------------------------------------------------------------------
# Data


@dataclass(frozen=True)
class DownloadConfig(Config):
    """Fetch benchmark data, T5 weights, the published corpus or any URL: pinned, hashed, resumable."""

    name: str = knob('', 'what to fetch: a name from `fsa download --help`, or a URL')
    mirror: str = knob('', 'base URL or local folder that replaces the published host')
    revision: str = knob('', 'another revision than the pinned one (hashes are then not known)')
    sha256: str = knob('', 'expected hash, for a URL')
    timeout: float = knob(30.0, 'seconds without a byte before a retry', low=0.1, free=True)
    retries: int = knob(5, 'further tries after a failure', low=0, free=True)


@dataclass(frozen=True)
class TrainData(Config):
    """A user's own labelled sentences: trains without writing a SeqIO task."""

    path: str = knob(
        '', 'a .jsonl, .json, .csv, SemEval .xml or Label Studio export; empty: not used'
    )
    format: Literal['auto', 'jsonl', 'csv', 'semeval', 'label_studio'] = knob(
        'auto', 'form of the file'
    )
    task: Literal['acsa', 'atsa'] = knob('atsa', '(category, polarity) or (term, polarity) pairs')
    validation_path: str = knob('', 'validation file; empty: split off by validation_fraction')
    test_path: str = knob('', 'test file; empty: split off by test_fraction')
    validation_fraction: float = knob(0.1, 'share split off for validation', low=0.0, high=0.5)
    test_fraction: float = knob(0.1, 'share split off for test', low=0.0, high=0.5)
    seed: int = knob(0, 'seed of the split', low=0)
    text_field: str = knob('sentence', 'column of the text (jsonl, csv)')
    label_field: str = knob(
        'aspects', "column of the labels: aspects, or 'term | polarity ; …' text"
    )


@dataclass(frozen=True)
class PackConfig(Config):
    """SeqIO tasks to a token store: tokenised once, read by any run."""

    tasks: tuple[str, ...] = knob(
        (), 'SeqIO tasks or mixtures; empty with TrainData.path set: your labels'
    )
    splits: tuple[str, ...] = knob((), 'splits to pack; empty: all that a task has')
    module: str = knob('', 'your own Python module to import first: it registers your tasks')
    data_dir: str = knob('', 'root of the benchmark data; empty: FSA_DATA_DIR, as it is now')
    corpus: str = knob(
        '', 'the sentiment-understanding corpus: a folder or file of teacher answers'
    )
    corpus_validation_fraction: float = knob(
        0.01,
        'share of the reviews of a corpus without validation files that becomes its validation split',
        low=0.0,
        high=0.5,
    )
    input_length: int = knob(
        128, 'most input ids, </s> included; longer is cut and counted; 0: no cut', low=0
    )
    target_length: int = knob(
        400, 'most target ids, </s> included; longer is cut and counted; 0: no cut', low=0
    )
    target_order: Literal['released', 'numeric'] = knob(
        'released', 'order of ATSA pairs in the target'
    )
    rates: dict[str, float] = knob(
        {}, 'mixture rates by task, recorded as defaults; empty: as registered'
    )
    materialised_epochs: int = knob(
        1, 'passes of random preprocessors that are frozen in the store', low=1
    )
    seed: int = knob(0, 'seed of random preprocessors', low=0)
    processes: int = knob(1, 'worker processes', low=1, free=True)

    def check(self):
        # So that config.gin and the manifest name the data, and another root is another job.
        if self.tasks and not self.data_dir:
            object.__setattr__(self, 'data_dir', os.environ.get('FSA_DATA_DIR', ''))


@dataclass(frozen=True)
class RowsConfig(Config):
    """How pairs of the token store become rows of a batch."""

    layout: Literal['packed', 'pairs'] = knob(
        'packed', "several pairs a row, or one: 'pairs' is the paper's"
    )
    encoder_length: int = knob(
        256, 'encoder slots a row (packed); most input ids (pairs; 0: no cut)', low=0
    )
    decoder_length: int = knob(
        768, 'decoder slots a row (packed); most target ids (pairs; 0: no cut)', low=0
    )
    buckets: int = knob(4, 'lengths that a batch may be padded to, on each side (pairs)', low=1)
    batch_size: int = knob(16, 'rows a step, over all devices and microbatches', low=1)
    microbatches: int = knob(1, 'gradient accumulation: the batch is cut into this many', low=1)
    rates: dict[str, float] = knob({}, "mixture rates by task; empty: the store's own")
    epoch: Literal['largest', 'total', 'steps'] = knob(
        'total',
        'an epoch of a mixture ends with its largest task, its total pairs, or after epoch_steps',
    )
    epoch_steps: int = knob(0, "steps an epoch when epoch = 'steps'", low=0)
    shuffle: bool = knob(True, 'shuffle the pairs anew each epoch')
    seed: int = knob(42, 'seed of order and mixture', low=0)

    def check(self):
        if self.batch_size % self.microbatches:
            raise UserError(
                f'RowsConfig.batch_size={self.batch_size} is not divisible by RowsConfig.microbatches='
                f'{self.microbatches}'
            )
        if self.layout == 'packed' and not (self.encoder_length and self.decoder_length):
            raise UserError(
                "RowsConfig.layout='packed' needs RowsConfig.encoder_length and decoder_length above 0"
            )
        if self.epoch == 'steps' and not self.epoch_steps:
            raise UserError("RowsConfig.epoch='steps' needs RowsConfig.epoch_steps > 0")


# ---------------------------------------------------------------------------------------------
# Training


@dataclass(frozen=True)
class OptimizerConfig(Config):
    """The optimizer and its learning-rate schedule."""

    name: Literal['adamw', 'adamw_scale', 'adafactor'] = knob(
        'adamw',
        "'adamw_scale' multiplies the step by max(1e-3, RMS(parameter)) as the paper's script does",
    )
    learning_rate: float = knob(3e-4, "the peak, nominal ('released' halves it inside)", low=0.0)
    schedule: Literal['released', 'written', 'linear', 'cosine', 'constant'] = knob(
        'linear', "'released' is the paper's schedule as it ran, 'written' as its script reads"
    )
    warmup: int = knob(0, 'warm-up steps (linear, cosine, constant)', low=0)
    floor: float = knob(1e-5, 'last learning rate of the cosine schedules', low=0.0)
    b1: float = knob(0.9, 'decay of the first moment', low=0.0, high=0.999999)
    b2: float = knob(0.999, 'decay of the second moment', low=0.0, high=0.999999)
    eps: float = knob(1e-6, 'added to the root of the second moment', low=0.0)
    weight_decay: float = knob(0.0, 'decoupled weight decay, on all parameters', low=0.0)
    clip: float = knob(1.0, 'global gradient norm clip; 0: none', low=0.0)


@dataclass(frozen=True)
class MeshConfig(Config):
    """The device mesh (data, fsdp, tensor) and how parameters lie on it."""

    data: int = knob(-1, 'data-parallel size; -1: all devices left over', low=-1, free=True)
    fsdp: int = knob(1, 'size of the axis that shards batch and parameters', low=1, free=True)
    tensor: int = knob(
        1, 'size of the axis that shards heads, mlp and vocabulary', low=1, free=True
    )
    preset: Literal['dp', 'fsdp', 'fsdp_tp'] = knob('dp', 'the sharding rules', free=True)


@dataclass(frozen=True)
class TrainConfig(Config):
    """Distilling and fine-tuning: the same stage with other data and another start."""

    data: str = knob('', 'the packed folder to train on')
    tasks: tuple[str, ...] = knob((), 'tasks of it to train on; empty: all')
    split: str = knob('train', 'its training split')
    validation_split: str = knob('validation', 'its validation split; empty: none')
    init: str = knob(
        '',
        'model folder (of train or import) to start from, empty: from scratch; of T5Config then only '
        'dropout_rate, vocab_padding, dtype, unroll and remat count, the rest comes from init',
    )
    init_which: Literal['auto', 'latest', 'best'] = knob(
        'auto', "'auto': best if the run kept one by metric"
    )
    steps: int = knob(0, 'optimizer steps; 0: as many as epochs need', low=0)
    epochs: float = knob(0.0, 'passes over the data, when steps is 0', low=0.0)
    seed: int = knob(42, 'seed of the initial weights and dropout', low=0)
    loss_average: Literal['tokens', 'microbatch'] = knob(
        'tokens', "mean over all tokens of a step, or over microbatch means (the paper's)"
    )
    label_smoothing: float = knob(0.0, 'label smoothing', low=0.0, high=1.0)
    z_loss: float = knob(0.0, 'weight of log(Z)^2', low=0.0)
    evaluate_every: int = knob(0, 'steps between validations; 0: each epoch', low=0)
    evaluate_examples: int = knob(0, 'validation pairs used of each task; 0: all', low=0)
    metric: str = knob(
        'auto',
        "keeps the best checkpoint by it: f1, loss, f1/TASK, loss/TASK, 'none' (only the last); "
        "'auto': f1 where a task has one, else none",
    )
    save_every: int = knob(
        1000, 'steps between checkpoints; 0: at evaluations only', low=0, free=True
    )
    save_minutes: float = knob(
        0.0, 'minutes between checkpoints as well; 0: off', low=0.0, free=True
    )
    keep: int = knob(
        2,
        'latest checkpoints kept, beside the best; with 2 a damaged newest one costs little',
        low=1,
        free=True,
    )
    log_every: int = knob(10, 'steps between rows of metrics.jsonl', low=1, free=True)
    tensorboard: bool = knob(True, 'write TensorBoard events too', free=True)
    profile_steps: tuple[int, ...] = knob(
        (), 'first and last step to profile with the JAX profiler', free=True
    )
    compilation_cache: str = knob(
        '', 'folder of compiled programs; empty: ~/.cache/fsa_jax/xla', free=True
    )

    def check(self):
        if self.profile_steps:
            first, last = self.profile_steps if len(self.profile_steps) == 2 else (0, 0)
            if not 1 <= first <= last:
                raise UserError(
                    'TrainConfig.profile_steps takes the first and the last step, from 1 on; got '
                    f'{self.profile_steps}'
                )


# ---------------------------------------------------------------------------------------------
# Using and judging a student


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
    data: str = knob('', 'packed folder (a task split); or use input')
    tasks: tuple[str, ...] = knob((), 'tasks of the packed folder; empty: all')
    split: str = knob('test', 'split of the packed folder')
    input: str = knob('', 'your own .txt, .jsonl, .csv or .parquet; or use data')
    text_field: str = knob('text', 'column of the text')
    id_field: str = knob('', 'column of the id; empty: the row number')
    task: str = knob('', "name recorded with your own file's rows; picks task_max_new_tokens")
    input_length: int = knob(512, 'most input ids; longer rows are cut and flagged', low=1)
    chunk: int = knob(
        1024, 'rows read, decoded and written together: what a kill can cost', low=1, free=True
    )
    compilation_cache: str = knob(
        '', 'folder of compiled programs; empty: ~/.cache/fsa_jax/xla', free=True
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
    scores: dict[str, str] = knob({}, "rows of the table: {'name': folder of score}")
    examples: int = knob(20, 'examples of gold against prediction', low=0)
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
    scores: tuple[str, ...] = knob((), 'folders of score to state in the model card')
    shard_gb: float = knob(5.0, 'largest safetensors file, in GB', low=0.001)
    push_to_hub: str = knob(
        '', "repository to upload to, 'owner/name'; the token comes from HF_TOKEN"
    )
    private: bool = knob(True, 'make that repository private')


# ---------------------------------------------------------------------------------------------
# The embedded default


@dataclass(frozen=True)
class LabConfig(Config):
    """A seeded world of synthetic reviews with known opinions, and a scripted teacher."""

    seed: int = knob(0, 'seed of the world', low=0)
    corpus_reviews: int = knob(3000, 'reviews of each domain the teacher answers', low=1)
    train_sentences: int = knob(400, 'labelled sentences of each benchmark', low=1)
    validation_sentences: int = knob(200, 'validation sentences of each benchmark', low=1)
    test_sentences: int = knob(400, 'test sentences of each benchmark', low=1)
    hard_test_sentences: int = knob(
        200, 'hard test sentences of each benchmark: implicit or of mixed polarity', low=1
    )
    implicit_share: float = knob(0.35, 'share of opinions worded implicitly', low=0.0, high=1.0)
    held_out_share: float = knob(
        0.12,
        'share of templates, terms and opinion words that only test sentences use',
        low=0.0,
        high=0.5,
    )
    error_wrong_sentiment: float = knob(0.05, 'teacher errors: polarity flipped', low=0.0, high=1.0)
    error_missed_target: float = knob(
        0.05, 'teacher errors: an opinion left out', low=0.0, high=1.0
    )
    error_made_up_target: float = knob(
        0.03, 'teacher errors: a target not in the review', low=0.0, high=1.0
    )
    error_malformed: float = knob(
        0.03, 'teacher errors: broken layout, notes, a cut answer', low=0.0, high=1.0
    )


@dataclass(frozen=True)
class DemoConfig(Config):
    """The quickstart: distil, fine-tune, score with and without distillation, export."""

    data: str = knob('', "real data: a folder with corpus/, fsa/ and t5/; empty: the lab's world")
    datasets: tuple[str, ...] = knob(
        ('atsa_lab_restaurant',), 'benchmark datasets, as in the task names fsa_DATASET'
    )
    seeds: tuple[int, ...] = knob((0, 1, 2), 'seeds of fine-tuning, for student and control alike')
    vocabulary_size: int = knob(2000, 'pieces of the vocabulary that is trained', low=100)
    input_length: int = knob(64, 'most input ids of the corpus', low=1)
    target_length: int = knob(128, 'most target ids of the corpus', low=1)
    row_encoder_length: int = knob(64, 'encoder slots of a packed row', low=1)
    row_decoder_length: int = knob(128, 'decoder slots of a packed row', low=1)
    distil_steps: int = knob(500, 'distillation steps', low=1)
    distil_batch: int = knob(24, 'packed rows a distillation step', low=1)
    distil_learning_rate: float = knob(1e-2, 'peak learning rate of distillation', low=0.0)
    fine_tune_epochs: float = knob(20.0, 'fine-tuning epochs', low=0.1)
    fine_tune_learning_rate: float = knob(1e-3, 'peak learning rate of fine-tuning', low=0.0)

    def check(self):
        for name in ('datasets', 'seeds'):
            if not getattr(self, name):
                raise UserError(f'DemoConfig.{name} is empty; expected at least one')

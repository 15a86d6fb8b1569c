"""Where training data comes from and how it is laid out."""

import os
from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError
from fsa_jax.urls import check_no_password


@dataclass(frozen=True)
class DownloadConfig(Config):
    """Fetch benchmark data, T5 weights, the published corpus or any URL: pinned, hashed, resumable."""

    name: str = knob('', 'what to fetch: a name from `fsa download --help`, or a URL')
    mirror: str = knob(
        '', 'base URL or local folder that replaces the published host; its password: ~/.netrc'
    )
    revision: str = knob('', 'another revision than the pinned one (hashes are then not known)')
    sha256: str = knob('', 'expected hash, for a URL')
    again: str = knob(
        '',
        'an earlier download of the same: its revision, and every hash in its manifest must hold',
    )
    timeout: float = knob(30.0, 'seconds without a byte before a retry', low=0.1, free=True)
    retries: int = knob(5, 'further tries after a failure', low=0, free=True)

    def check(self):
        check_no_password('DownloadConfig.name', self.name)
        check_no_password('DownloadConfig.mirror', self.mirror)
        if self.mirror.startswith(('http://', 'https://')) and set('?#') & set(self.mirror):
            raise UserError('DownloadConfig.mirror must be a base URL without a query')


@dataclass(frozen=True)
class TrainData(Config):
    """A user's own labelled sentences: trains without writing a SeqIO task."""

    path: str = knob(
        '', 'a .jsonl, .json, .csv, SemEval .xml, ASQP, ACOS or Label Studio file; empty: not used'
    )
    format: Literal['auto', 'jsonl', 'csv', 'semeval', 'label_studio', 'asqp', 'acos'] = knob(
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
    train_fraction: float = knob(
        1.0,
        'share of the pairs of each task that is trained on, drawn by seed; a smaller share is a part '
        'of a larger one',
        low=1e-6,
        high=1.0,
    )
    seed: int = knob(42, 'seed of order, mixture and train_fraction', low=0)

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

"""Judging a distilled student with no fine-tuning, calibrating one, and crossing domains."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError, nearest


@dataclass(frozen=True)
class ZeroShotConfig(Config):
    """What a distilled student says of labelled texts, with no fine-tuning."""

    model: str = knob('', 'folder of train or import, or a Hugging Face folder')
    which: str = knob('auto', "'auto', 'latest', 'best' or a step")
    data: str = knob(
        '',
        'JSON or JSONL of {sentence, label}; for aspect and extract labelled aspects (see notes)',
    )
    mode: Literal['sentence', 'aspect', 'extract'] = knob(
        'sentence',
        'polarity of a text, polarity of a gold target, or (term, polarity) pairs',
    )
    method: Literal['score', 'generate', 'both'] = knob(
        'both', 'sentence: compare likelihoods, add up a generated analysis, or both'
    )
    format: Literal['auto', 'jsonl', 'csv', 'semeval', 'asqp', 'acos'] = knob(
        'auto', 'form of a file of labelled aspects'
    )
    name: str = knob('', "name of the task in the results; empty: the data's name")
    text_field: str = knob('sentence', 'column of the text (sentence)')
    label_field: str = knob('label', 'column of the label (sentence)')
    target: str = knob('experience', 'the target whose sentiment stands for the whole text')
    aspect: str = knob('overall', 'its aspect, and that of a gold target without a category')
    input_length: int = knob(
        128, 'most ids read at once; longer texts are read in parts of whole sentences', low=8
    )
    max_new_tokens: int = knob(400, 'most ids of an analysis; what is cut there is flagged', low=1)
    note: str = knob('', "recorded with the scores, such as 'a student of synthetic reviews'")
    limit: int = knob(0, 'rows, from the first; 0: all', low=0)
    bootstrap: int = knob(1000, 'resamples of the 95 % intervals; 0: none', low=0)
    seed: int = knob(0, 'seed of the resamples', low=0)
    batch_size: int = knob(64, 'sequences together', low=1, free=True)

    def check(self):
        for name in ('target', 'aspect'):
            if not getattr(self, name):
                raise UserError(f'ZeroShotConfig.{name} is empty; expected a word')


@dataclass(frozen=True)
class CalibrateConfig(Config):
    """Confidence of a fine-tuned student as the probability of being right, on a validation split."""

    model: str = knob('', 'model folder, of train or import')
    which: Literal['auto', 'latest', 'best'] = knob(
        'auto', "'auto': best if the run kept one by metric"
    )
    seed: int | None = knob(None, 'which seed, of a model folder of several (TrainConfig.seeds)')
    data: str = knob('', 'packed folder with the validation split')
    tasks: tuple[str, ...] = knob((), 'its tasks; empty: all with a metric')
    split: str = knob('validation', 'split that the scale is fitted on')
    constrained: bool = knob(False, 'as the student will be used')
    categories: tuple[str, ...] = knob((), 'the inventory of constrained ACSA')
    batch_size: int = knob(64, 'sequences together', low=1, free=True)


def notes() -> str:
    """What data each mode of `fsa zero-shot` reads, for its page of help."""
    return (
        'data: sentence  JSON(L): {"sentence": …, "label": "positive", …}\n'
        '      aspect    a benchmark folder (fsa/atsa/rest14: its test and hard_test),\n'
        '      extract   or one file: JSON(L), CSV, SemEval XML, ASQP, ACOS'
    )


@dataclass(frozen=True)
class CrossDomainConfig(Config):
    """Systems by domains: classification, zero-shot extraction, and fine-tuning on one for another."""

    models: dict[str, str] = knob(
        {}, "model folders by name: {'base': FOLDER, 'student': FOLDER}, the base undistilled"
    )
    teacher: dict[str, str] = knob(
        {},
        "the teacher's predictions, a folder for each: 'extraction/DOMAIN', 'classification/DOMAIN'",
    )
    domains: dict[str, str] = knob(
        {}, 'labelled aspects by domain: a benchmark folder, or a file (no fine-tuning on it)'
    )
    seen: tuple[str, ...] = knob(
        (), "domains that the teacher's corpus holds; the others are marked"
    )
    fine_tune_on: tuple[str, ...] = knob(
        (), 'domains to fine-tune on; empty: all that are benchmark folders'
    )
    epochs: float = knob(20.0, 'fine-tuning epochs', low=0.1)
    learning_rate: float = knob(3e-4, 'peak learning rate of fine-tuning', low=0.0)
    seed: int = knob(42, 'seed of fine-tuning and of the resamples', low=0)
    limit: int = knob(
        0, 'test sentences of each domain, to classify: aspects, from the first; 0: all', low=0
    )
    bootstrap: int = knob(1000, 'resamples of the 95 % intervals; 0: none', low=0)
    batch_size: int = knob(64, 'sequences together', low=1, free=True)
    note: str = knob('', "recorded with the matrix, such as 'synthetic reviews'")

    def check(self):
        for name in ('seen', 'fine_tune_on'):
            for domain in getattr(self, name):
                if domain not in self.domains:
                    raise UserError(
                        f'CrossDomainConfig.{name} names {domain!r}, which is none of its domains: '
                        f'{", ".join(self.domains)}{nearest(domain, self.domains)}'
                    )
        for key in self.teacher:
            measure, _, domain = key.partition('/')
            if measure not in ('extraction', 'classification') or domain not in self.domains:
                raise UserError(
                    f"CrossDomainConfig.teacher: expected 'extraction/DOMAIN' or "
                    f"'classification/DOMAIN', of {', '.join(self.domains)}; got {key!r}"
                )

"""Labelled rows to fill in: texts with one label, gold targets with a polarity, sentences with pairs."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from fsa_jax import records, text_format
from fsa_jax.configs import TrainData, ZeroShotConfig
from fsa_jax.data import benchmark_files, labels
from fsa_jax.data.json_records import read_json_records
from fsa_jax.errors import UserError, nearest
from fsa_jax.progress import say
from fsa_jax.records import Prediction, Sentence

POLARITIES = tuple(p for p in records.POLARITIES if p != 'conflict')


def read_rows(path: Path, config: ZeroShotConfig) -> list[Prediction]:
    """Rows to fill in: text and gold; of 'aspect' one row a gold target, of 'sentence' with labels."""
    task = config.name or path.stem
    make = {'sentence': _labelled_texts, 'aspect': _gold_targets, 'extract': _gold_pairs}
    rows = list(make[config.mode](path, task, config))
    if not rows:
        raise UserError(f'{path} holds nothing to judge (ZeroShotConfig.mode={config.mode!r})')
    golds = {
        row.gold for row in rows
    }  # of all, whatever the limit: which labels there are to choose from
    choices = [p for p in POLARITIES if p in golds]
    return [
        dataclasses.replace(row, extra=row.extra | {'labels': choices})
        for row in rows[: config.limit or None]
    ]


def _labelled_texts(path: Path, task: str, config: ZeroShotConfig) -> Iterator[Prediction]:
    for number, (where, record) in enumerate(read_json_records(path), 1):
        for knob in ('text_field', 'label_field'):
            name = getattr(config, knob)
            if not isinstance(record.get(name), str):
                raise UserError(
                    f'{where}: expected text in {name!r} (ZeroShotConfig.{knob}); got '
                    f'{record.get(name)!r:.40}{nearest(name, record)}'
                )
        label = record[config.label_field].strip().lower()
        if label not in POLARITIES:
            raise UserError(f'{where}: label must be one of {", ".join(POLARITIES)}; got {label!r}')
        yield Prediction(str(number), record[config.text_field], '', task=task, gold=label)


def _gold_targets(path: Path, task: str, config: ZeroShotConfig) -> Iterator[Prediction]:
    left_out = 0
    for sentence in read_aspects(path, config.format):
        for number, aspect in enumerate(sentence.aspects, 1):
            if aspect.target in (None, '', 'NULL') or aspect.polarity not in POLARITIES:
                left_out += 1
                continue
            category = (aspect.category or '').lower().replace('#', ' ')
            yield Prediction(
                f'{sentence.id}/{number}',
                sentence.sentence,
                '',
                task=task,
                gold=aspect.polarity,
                extra={'target': aspect.target, 'aspect': category},
            )
    if left_out:
        say(f'{left_out:,} aspects of {task} left out: no target, or a polarity of conflict')


def _gold_pairs(path: Path, task: str, config: ZeroShotConfig) -> Iterator[Prediction]:
    subsets = benchmark_files.subsets if path.is_dir() else labels.subsets
    for sentence in read_aspects(path, config.format):
        yield Prediction(
            sentence.id,
            sentence.sentence,
            '',
            task=task,
            metric='atsa',
            gold=text_format.atsa_target(sentence.aspects),
            subsets=subsets(sentence),
        )


def read_aspects(path: Path, form: str = 'auto') -> list[Sentence]:
    """Sentences with aspects: a benchmark folder's evaluated test set, or any one file of labels."""
    if path.is_dir():
        files = [path / f'{name}.json' for name in benchmark_files.SPLIT_FILES['test']]
        there = [file for file in files if file.is_file()]
        if not there:
            raise UserError(f'{path} has no {files[0].name}; expected a benchmark folder or a file')
        return [s for file in there for s in benchmark_files.read_sentences(file)]
    config = TrainData(path=str(path), format=form, task='atsa')  # type: ignore[arg-type]
    rows = labels.read_checked(path, config)
    for where, sentence in rows:
        for aspect in sentence.aspects:
            if aspect.polarity not in records.POLARITIES:
                raise UserError(
                    f'{where}: unknown polarity {aspect.polarity!r}; expected one of '
                    f'{", ".join(records.POLARITIES)}{nearest(aspect.polarity, records.POLARITIES)}'
                )
    return [sentence for _, sentence in rows]

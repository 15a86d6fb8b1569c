"""Stage `cross-domain`: how what is learnt in one domain carries to another, as one matrix.

    zero-shot/SYSTEM/DOMAIN/           predictions with no fine-tuning
    labels/SYSTEM/DOMAIN/, tuned/SYSTEM/DOMAIN/    the training data, and the student fine-tuned on it
    transfer/SYSTEM/DOMAIN/DOMAIN/     predictions of one fine-tuned on the first for the second
    matrix.json   {"domains": {"hotel": {"seen": false}, …}, "cells": [{"system": "student",
                   "measure": "extraction", "trained_on": "", "domain": "hotel", "value": 0.31,
                   "interval": […]}, …], "note": …, "machine": …, "versions": …}

Measures: 'classification' (accuracy of the polarity of gold targets, by likelihood), 'extraction'
(micro F1 of pairs out of generated analyses) and 'fine-tuned' (micro F1 of pairs). Packing, training
and predicting are the ordinary stages, so a stopped run goes on where it was.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from fsa_jax import environment, manifest, stages
from fsa_jax.artifacts import PREDICTIONS, predictions_in
from fsa_jax.configs import (
    CrossDomainConfig,
    DecodeConfig,
    MeshConfig,
    OptimizerConfig,
    PackConfig,
    PredictConfig,
    RowsConfig,
    ScoreConfig,
    T5Config,
    TrainConfig,
    TrainData,
    ZeroShotConfig,
)
from fsa_jax.console import Console
from fsa_jax.data.labels import TASK
from fsa_jax.errors import UserError
from fsa_jax.evaluate import labelled, score, zero_shot
from fsa_jax.evaluate.classification import classify
from fsa_jax.progress import say, track
from fsa_jax.records import Prediction, read_jsonl, write_jsonl
from fsa_jax.student import Student
from fsa_jax.train.checkpoint import open_model

MATRIX = 'matrix.json'
MEASURES = ('classification', 'extraction', 'fine-tuned')


@dataclass(frozen=True)
class Cell:
    """One number of the matrix, in [0, 1], with its 95 % interval."""

    system: str
    measure: str
    domain: str
    value: float
    interval: tuple[float, float] | None
    trained_on: str = ''


def run(out: manifest.Output, config: CrossDomainConfig) -> None:
    """Fills the matrix, prints it and writes matrix.json."""
    if not config.models or not config.domains:
        raise UserError(
            'CrossDomainConfig.models and domains are needed; see fsa cross-domain --help'
        )
    data = {d: out.read(f'CrossDomainConfig.domains {d}', p) for d, p in config.domains.items()}
    models = {m: out.read(f'CrossDomainConfig.models {m}', p) for m, p in config.models.items()}
    cells: list[Cell] = []
    for system, folder in models.items():
        cells += _zero_shot(out.folder / 'zero-shot' / system, system, folder, data, config)
        cells += _fine_tuned(out.folder, system, folder, data, config)
    for key, path in config.teacher.items():
        folder = out.read(f'CrossDomainConfig.teacher {key}', path)
        cells.append(_teacher(key, folder, data, config))
    content = {
        'domains': {domain: {'seen': domain in config.seen} for domain in data},
        'cells': [dataclasses.asdict(cell) for cell in cells],
        'note': config.note,
        'machine': environment.machine(),
        'versions': environment.versions(),
    }
    manifest.write_atomic(out.folder / MATRIX, json.dumps(content, indent=1) + '\n')
    out.counts['cells'] = len(cells)
    print_matrix(cells, config)


# ---------------------------------------------------------------------------------------------
# With no fine-tuning


def _zero_shot(folder: Path, system: str, model: Path, data, config) -> list[Cell]:
    student = Student.from_pretrained(model, batch_size=config.batch_size)
    cells = []
    for domain, path in data.items():
        for measure, mode in (('classification', 'aspect'), ('extraction', 'extract')):
            settings = _settings(mode, config, f'{domain}-{measure}')
            rows = labelled.read_rows(path, settings)
            file = folder / domain / f'{measure}.jsonl'
            if file.is_file():
                done = list(read_jsonl(Prediction, file))
            else:
                say(f'--- {system}: {measure} in {domain}, zero-shot')
                done = []
                with track(measure, len(rows), 'rows') as bar:
                    for chunk in zero_shot.judge(student, rows, settings):
                        done += chunk
                        bar.update(len(chunk))
                _write(file, done)
            cells.append(_cell(system, measure, domain, done, config))
    return cells


def _settings(mode: Any, config: CrossDomainConfig, name: str) -> ZeroShotConfig:
    return ZeroShotConfig(mode=mode, name=name, limit=config.limit, bootstrap=config.bootstrap)


def _write(file: Path, rows: Sequence[Prediction]) -> None:
    """All rows or none: a file that is there is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix('.partial')
    write_jsonl(partial, rows)
    partial.rename(file)


def _cell(system, measure, domain, rows: Sequence[Prediction], config, trained_on='') -> Cell:
    if measure == 'classification':
        golds, predictions = zip(*((row.gold or '', row.prediction) for row in rows))
        judged = classify(golds, predictions, resamples=config.bootstrap, seed=config.seed)
        return Cell(system, measure, domain, judged.accuracy, judged.accuracy_interval)
    entry = score.score_task(rows, ScoreConfig(bootstrap=config.bootstrap, seed=config.seed))
    normal = entry['subsets']['normal']
    return Cell(system, measure, domain, normal['f1'], normal.get('f1_interval'), trained_on)


def _teacher(key: str, folder: Path, data, config) -> Cell:
    """The teacher's answers to the very rows that the students answered."""
    measure, _, domain = key.partition('/')
    mode = 'aspect' if measure == 'classification' else 'extract'
    rows = labelled.read_rows(data[domain], _settings(mode, config, domain))
    told = {}
    for row in read_jsonl(Prediction, predictions_in(folder)):
        told[row.id, row.sentence] = row.prediction
    missing = [row for row in rows if (row.id, row.sentence) not in told]
    if missing:
        raise UserError(
            f'{folder / PREDICTIONS} has no answer to {len(missing)} of {len(rows)} rows of {domain}, '
            f'the first with id {missing[0].id!r} (CrossDomainConfig.teacher {key!r})'
        )
    answered = [dataclasses.replace(row, prediction=told[row.id, row.sentence]) for row in rows]
    return _cell('teacher', measure, domain, answered, config)


# ---------------------------------------------------------------------------------------------
# Fine-tuned on one domain, tested on all


def _fine_tuned(folder: Path, system: str, model: Path, data, config) -> list[Cell]:
    folders = [domain for domain, path in data.items() if (path / 'train.json').is_file()]
    cells = []
    for source in config.fine_tune_on or folders:
        if source not in folders:
            raise UserError(f'{data[source]} has no train.json to fine-tune on ({source!r})')
        labels = _pack(folder / 'labels' / system / source, model, data[source])
        tuned = _train(folder / 'tuned' / system / source, model, labels, config)
        for domain, path in data.items():
            rows = labelled.read_rows(path, _settings('extract', config, f'{domain}-fine-tuned'))
            where = folder / 'transfer' / system / source / domain
            done = _predict(where, tuned, rows, config)
            cells.append(_cell(system, 'fine-tuned', domain, done, config, source))
    return cells


def _pack(output: Path, model: Path, data: Path) -> Path:
    vocabulary = open_model(model).vocabulary.as_config(model / 'vocabulary')
    labels = TrainData(
        path=str(data / 'train.json'),
        validation_path=str(data / 'dev.json'),
        test_fraction=0.0,
        task='atsa',
    )
    return stages.run_once(
        'pack', [PackConfig(input_length=0, target_length=0), vocabulary, labels], output
    )


def _train(output: Path, model: Path, labels: Path, config: CrossDomainConfig) -> Path:
    train = TrainConfig(
        data=str(labels),
        tasks=(TASK,),
        init=str(model),
        epochs=config.epochs,
        seed=config.seed,
        save_every=0,
    )
    rows = RowsConfig(
        layout='pairs', batch_size=16, seed=config.seed, encoder_length=0, decoder_length=0
    )
    optimizer = OptimizerConfig(learning_rate=config.learning_rate, weight_decay=0.01)
    decode = DecodeConfig(batch_size=config.batch_size)
    return stages.run_once(
        'train', [train, T5Config(), rows, optimizer, MeshConfig(), decode], output
    )


def _predict(output: Path, model: Path, rows: list[Prediction], config) -> list[Prediction]:
    """The rows with the text that `fsa predict` gives for their sentences."""
    texts = output.with_name(f'{output.name}.jsonl')
    _write(texts, rows)
    predict = PredictConfig(model=str(model), input=str(texts), text_field='sentence')
    decode = DecodeConfig(batch_size=config.batch_size)
    stages.run_once('predict', [predict, decode, MeshConfig()], output)
    told = read_jsonl(Prediction, output / PREDICTIONS)
    return [dataclasses.replace(row, prediction=t.prediction) for row, t in zip(rows, told)]


# ---------------------------------------------------------------------------------------------


def print_matrix(cells: Sequence[Cell], config: CrossDomainConfig) -> None:
    """Measures and systems by domains, in percent; a domain that was not seen has a star."""
    table = Table(
        title='accuracy (classification) and micro F1, in %',
        caption="* not in the teacher's corpus",
        title_justify='left',
        caption_justify='left',
        box=box.SIMPLE_HEAD,
    )
    table.add_column('measure')
    table.add_column('system')
    for domain in config.domains:
        table.add_column(domain + ('' if domain in config.seen else ' *'), justify='right')
    rows: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for cell in sorted(cells, key=lambda cell: MEASURES.index(cell.measure)):
        rows.setdefault((cell.measure, cell.trained_on, cell.system), {})[cell.domain] = cell
    for (measure, trained_on, system), found in rows.items():
        name = f'fine-tuned on {trained_on}' if trained_on else measure
        table.add_row(name, system, *(_shown(found.get(domain)) for domain in config.domains))
    Console().print(table)


def _shown(cell: Cell | None) -> str:
    return '-' if cell is None else score.percent(cell.value)

"""Stage `zero-shot`: a distilled student on labelled texts, with no fine-tuning.

Writes `predictions.jsonl` (records.Prediction, one line a row and method) and `scores.json`. Of mode
'sentence' and 'aspect':

    {"tasks": {"yelp2_test": {"score": {"rows": 2000, "accuracy": …, "accuracy_interval": […],
               "macro_f1": …, "macro_f1_interval": […], "f1": {…}, "confusion": {…}}, "generate": …}},
     "note": …, "settings": {…}, "machine": {…}, "versions": {…}}

Mode 'extract' writes what `fsa predict` and `fsa score` would: pairs of a term and a polarity out of
generated analyses, under the same scorer.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fsa_jax import environment, manifest, text_format
from fsa_jax.configs import ScoreConfig, TrainData, ZeroShotConfig
from fsa_jax.data import benchmark_files
from fsa_jax.data.json_records import read_json_records
from fsa_jax.data.label_files import read_label_file
from fsa_jax.errors import UserError, nearest
from fsa_jax.evaluate import score
from fsa_jax.evaluate.classification import classify
from fsa_jax.evaluate.predict import PREDICTIONS
from fsa_jax.progress import say, track
from fsa_jax.records import SENTIMENT_LEVELS, Prediction, Sentence, write_jsonl
from fsa_jax.student import Found, Student
from fsa_jax.student.sentiment import POLARITIES, SentimentScorer

_CHUNK = 256  # rows between two steps of the progress bar
Rows = Sequence[Prediction]


def run(out: manifest.Output, config: ZeroShotConfig) -> None:
    """Predicts, scores, prints a table and writes both files."""
    for name in ('model', 'data'):
        if not getattr(config, name):
            raise UserError(f'ZeroShotConfig.{name} is empty; see fsa zero-shot --help')
    rows = read_rows(out.read('ZeroShotConfig.data', config.data), config)
    student = Student.from_pretrained(
        out.read('ZeroShotConfig.model', config.model),
        which=config.which,
        batch_size=config.batch_size,
        input_length=config.input_length,
    )
    by_method = judge(student, rows, config)
    predictions = [row for rows in by_method.values() for row in rows]
    write_jsonl(out.folder / PREDICTIONS, predictions)
    task = rows[0].task
    entry = scores(by_method, config)
    content = {
        'tasks': {task: entry},
        'note': config.note,
        'settings': _settings(config),
        'machine': environment.machine(),
        'versions': environment.versions(),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    manifest.write_atomic(out.folder / score.SCORES, text + '\n')
    out.counts.update(rows=len(rows), methods=len(by_method))
    if config.mode == 'extract':
        score.print_table({task: entry})
    else:
        print_table(task, entry)


def _settings(config: ZeroShotConfig) -> dict[str, Any]:
    """The knobs, of paths the names alone: a result does not tell where the data lies."""
    return dataclasses.asdict(config) | {
        name: Path(getattr(config, name)).name for name in ('model', 'data')
    }


def judge(student: Student, rows: Rows, config: ZeroShotConfig) -> dict[str, list[Prediction]]:
    """The rows, filled in, by method; `extra` says how sure it is, or what was generated."""
    fill = {
        'sentence': {'score': _score_texts, 'generate': _generate_texts},
        'aspect': {'score': _score_targets},
        'extract': {'generate': _extract},
    }[config.mode]
    wanted = [m for m in fill if config.mode != 'sentence' or config.method in (m, 'both')]
    found: dict[str, list[Prediction]] = {}
    for method in wanted:
        found[method] = []
        with track(f'zero-shot: {method}', len(rows), 'rows') as bar:
            for first in range(0, len(rows), _CHUNK):
                chunk = rows[first : first + _CHUNK]
                found[method] += fill[method](student, chunk, config)
                bar.update(len(chunk))
    return found


def scores(by_method: dict[str, list[Prediction]], config: ZeroShotConfig) -> dict[str, Any]:
    """The entry of the task in scores.json."""
    if config.mode == 'extract':
        settings = ScoreConfig(bootstrap=config.bootstrap, seed=config.seed)
        return score.score_task(by_method['generate'], settings)
    return {
        method: dataclasses.asdict(
            classify(
                [row.gold or '' for row in rows],
                [row.prediction for row in rows],
                resamples=config.bootstrap,
                seed=config.seed,
            )
        )
        for method, rows in by_method.items()
    }


# ---------------------------------------------------------------------------------------------
# What each mode predicts


def _score_texts(student, rows: Rows, config: ZeroShotConfig) -> list[Prediction]:
    texts = [row.sentence for row in rows]
    chances = SentimentScorer(student).of_texts(texts, config.target, config.aspect)
    return [_likeliest(row, chance, 'score') for row, chance in zip(rows, chances)]


def _score_targets(student, rows: Rows, config: ZeroShotConfig) -> list[Prediction]:
    targets = [(row.extra['target'], row.extra['aspect'] or config.aspect) for row in rows]
    chances = SentimentScorer(student).of_targets([row.sentence for row in rows], targets)
    return [_likeliest(row, chance, 'score') for row, chance in zip(rows, chances)]


def _likeliest(row: Prediction, chances: dict[str, float], method: str) -> Prediction:
    """The likeliest of the labels that the data has."""
    best = max(row.extra['labels'], key=lambda label: chances[label])
    return _filled(row, best, method, chances=chances)


def _generate_texts(student, rows: Rows, config: ZeroShotConfig) -> list[Prediction]:
    found = student.extract([row.sentence for row in rows], 'analysis')
    return [
        _filled(row, overall(one.opinions), 'generate', one.flags, generated=one.generated)
        for row, one in zip(rows, found)
    ]


def overall(opinions: Sequence[Found]) -> str:
    """The sign of the sum of levels, from -2 (Very Negative) to 2; neutral where it is 0."""
    total = sum(SENTIMENT_LEVELS.index(o.level) - 2 for o in opinions)
    return 'positive' if total > 0 else 'negative' if total < 0 else 'neutral'


def _extract(student, rows: Rows, config: ZeroShotConfig) -> list[Prediction]:
    found = student.extract([row.sentence for row in rows], 'analysis')
    filled = []
    for row, one in zip(rows, found):
        pairs = [(o.term, o.polarity) for o in one.opinions if o.spans and not {*';|'} & {*o.term}]
        text = text_format.join(pairs)
        filled.append(_filled(row, text, 'generate', one.flags, generated=one.generated))
    return filled


def _filled(row: Prediction, text: str, method: str, flags=(), **extra: Any) -> Prediction:
    kept = {k: v for k, v in row.extra.items() if k != 'labels'}
    return dataclasses.replace(
        row, prediction=text, flags=(*row.flags, *flags), extra={**kept, 'method': method, **extra}
    )


# ---------------------------------------------------------------------------------------------
# What is read


def read_rows(path: Path, config: ZeroShotConfig) -> list[Prediction]:
    """Rows to fill in: text and gold; of 'aspect' one row a gold target, of 'sentence' with labels."""
    task = config.name or path.stem
    make = {'sentence': _labelled_texts, 'aspect': _gold_targets, 'extract': _gold_pairs}
    rows = list(make[config.mode](path, task, config))
    rows = rows[: config.limit or None]
    if not rows:
        raise UserError(f'{path} holds nothing to judge (ZeroShotConfig.mode={config.mode!r})')
    labels = [p for p in POLARITIES if any(row.gold == p for row in rows)]
    return [dataclasses.replace(row, extra=row.extra | {'labels': labels}) for row in rows]


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
    for sentence in read_aspects(path, config.format):
        yield Prediction(
            sentence.id,
            sentence.sentence,
            '',
            task=task,
            metric='atsa',
            gold=text_format.atsa_target(sentence.aspects),
            subsets=benchmark_files.subsets(sentence),
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
    return [sentence for _, sentence in read_label_file(path, config)]


def print_table(task: str, entry: dict[str, Any]) -> None:
    """The scores of each method on standard output, in percent."""
    table = Table(title=f'{task}, zero-shot', title_justify='left', box=box.SIMPLE_HEAD)
    for column in ('method', 'rows', 'accuracy', '95 %', 'macro F1', '95 %'):
        table.add_column(column, justify='left' if column == 'method' else 'right')
    for method, s in entry.items():
        table.add_row(
            method,
            f'{s["rows"]:,}',
            score.percent(s['accuracy']),
            score.interval(s['accuracy_interval']),
            score.percent(s['macro_f1']),
            score.interval(s['macro_f1_interval']),
        )
    Console().print(table)

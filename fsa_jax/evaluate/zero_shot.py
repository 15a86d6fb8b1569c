"""Stage `zero-shot`: a distilled student on labelled texts, with no fine-tuning.

Writes `predictions.jsonl` (records.Prediction, one line a row and method) and `scores.json`. Of mode
'sentence' and 'aspect':

    {"tasks": {"yelp2_test": {"score": {"rows": 2000, "accuracy": …, "accuracy_interval": […],
               "macro_f1": …, "macro_f1_interval": […], "f1": {…}, "confusion": {…}}, "generate": …}},
     "cost": {"score": {"answered": 2000, "prompt_tokens": …, "output_tokens": …, "seconds_per_1000": …}, …},
     "note": …, "settings": {…}, "machine": {…}, "versions": {…}}

Mode 'extract' writes what `fsa predict` and `fsa score` would: pairs of a term and a polarity out of
generated analyses, under the same scorer, with its examples.jsonl. `cost` counts ids of the student's own
vocabulary ('score' writes none) and seconds, compiling included. A killed run goes on after the last
chunk that is whole.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fsa_jax import environment, manifest, text_format
from fsa_jax.configs import ScoreConfig, ZeroShotConfig
from fsa_jax.errors import UserError
from fsa_jax.evaluate import score
from fsa_jax.evaluate.classification import classify, print_table
from fsa_jax.evaluate.expense import count_tokens
from fsa_jax.evaluate.labelled import read_rows
from fsa_jax.evaluate.prediction_file import PredictionFile
from fsa_jax.records import SENTIMENT_LEVELS, Prediction, read_jsonl, write_jsonl
from fsa_jax.student import Found, Student
from fsa_jax.student.sentiment import SentimentScorer

_CHUNK = 256  # rows written together: what a kill can cost
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
    task, total = rows[0].task, len(rows) * len(methods(config))
    with PredictionFile(out) as file:
        file.fill(
            'zero-shot',
            total,
            lambda first: judge(student, rows, config, first),
            kind=lambda row: row.extra['method'],
        )
        by_method: dict[str, list[Prediction]] = {method: [] for method in methods(config)}
        for row in read_jsonl(Prediction, file.path):
            by_method[row.extra['method']].append(row)
        entry = scores(by_method, config)
    if config.mode == 'extract':
        write_jsonl(out.folder / score.EXAMPLES, map(score.judge, by_method['generate']))
    content = {
        'tasks': {task: entry},
        'cost': {
            method: _cost(done, student, file.seconds[method]) for method, done in by_method.items()
        },
        'note': config.note,
        'settings': _settings(config),
        'machine': environment.machine(),
        'versions': environment.versions(),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    manifest.write_atomic(out.folder / score.SCORES, text + '\n')
    out.counts.update(rows=len(rows), methods=len(by_method), **file.flags)
    if config.mode == 'extract':
        score.print_table({task: entry})
    else:
        print_table(task, entry)


def _cost(rows: Rows, student: Student, seconds: float) -> dict[str, float]:
    """What the rows of a method took."""
    generated = [text for row in rows for text in row.extra.get('generated', ())]
    return {
        'answered': len(rows),
        'prompt_tokens': count_tokens(student.vocabulary, [row.sentence for row in rows]),
        'output_tokens': count_tokens(student.vocabulary, generated),
        'seconds_per_1000': 1000 * seconds / len(rows),
    }


def _settings(config: ZeroShotConfig) -> dict[str, Any]:
    """The knobs, of paths the names alone: a result does not tell where the data lies."""
    return dataclasses.asdict(config) | {
        name: Path(getattr(config, name)).name for name in ('model', 'data')
    }


def methods(config: ZeroShotConfig) -> list[str]:
    """The methods that a mode has, and of 'sentence' those that are asked for."""
    return [
        m for m in _FILL[config.mode] if config.mode != 'sentence' or config.method in (m, 'both')
    ]


def judge(
    student: Student, rows: Rows, config: ZeroShotConfig, first: int = 0
) -> Iterator[list[Prediction]]:
    """The rows, filled in, a chunk at a time, method after method, but for the `first` ones; `extra`
    names the method, and says how sure it is, or what was generated."""
    for number, method in enumerate(methods(config)):
        fill = _FILL[config.mode][method]
        for start in range(max(0, first - number * len(rows)), len(rows), _CHUNK):
            yield fill(student, rows[start : start + _CHUNK], config)


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
    texts = [row.sentence for row in rows]
    found = student.extract(texts, 'analysis', max_new_tokens=config.max_new_tokens)
    return [
        _filled(row, overall(one.opinions), 'generate', one.flags, generated=one.generated)
        for row, one in zip(rows, found)
    ]


def overall(opinions: Sequence[Found]) -> str:
    """The sign of the sum of levels, from -2 (Very Negative) to 2; neutral where it is 0."""
    total = sum(SENTIMENT_LEVELS.index(o.level) - 2 for o in opinions)
    return 'positive' if total > 0 else 'negative' if total < 0 else 'neutral'


def _extract(student, rows: Rows, config: ZeroShotConfig) -> list[Prediction]:
    texts = [row.sentence for row in rows]
    found = student.extract(texts, 'analysis', max_new_tokens=config.max_new_tokens)
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


_FILL: dict[str, dict[str, Callable[[Student, Rows, ZeroShotConfig], list[Prediction]]]] = {
    'sentence': {'score': _score_texts, 'generate': _generate_texts},
    'aspect': {'score': _score_targets},
    'extract': {'generate': _extract},
}

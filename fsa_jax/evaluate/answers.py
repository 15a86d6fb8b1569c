"""Answers of any system to a task split: a file, in the order of the sentences."""

import json
from collections.abc import Iterator
from pathlib import Path

from fsa_jax.artifacts import predictions_in
from fsa_jax.data.store import TokenStore
from fsa_jax.data.tables import read_lines
from fsa_jax.errors import UserError
from fsa_jax.records import Prediction


def read_answers(path: Path, store: TokenStore) -> list[Prediction]:
    """The predictions of a file for the examples of `store`, one for each, in order.

    A .txt has an answer a line; a .jsonl objects with a 'prediction', and a 'sentence' that is
    checked where there is one; a folder is one of `fsa predict`, `fsa zero-shot` or
    `fsa in-context`. UserError names the line.
    """
    examples = list(store.examples())
    file = predictions_in(path) if path.is_dir() else path
    try:
        lines = [line.rstrip('\r\n') for _, line in read_lines(file)]
    except FileNotFoundError:
        raise UserError(f'BenchmarkConfig.predictions: there is no file {file}') from None
    if len(lines) != len(examples):
        raise UserError(
            f'{file}: expected {len(examples):,} answers, one for each sentence of {store.task} '
            f'({store.header.split}), in order; got {len(lines):,}'
        )
    answers = lines if file.suffix == '.txt' else _of_json(file, lines, examples)
    return [
        Prediction(
            example.id,
            example.sentence,
            answer,
            task=store.task,
            metric=store.metric,
            gold=example.gold,
            subsets=example.subsets,
        )
        for answer, example in zip(answers, examples)
    ]


def _of_json(file: Path, lines: list[str], examples) -> Iterator[str]:
    for number, (line, example) in enumerate(zip(lines, examples), 1):
        try:
            record = json.loads(line)
            answer = record['prediction']
        except (ValueError, KeyError, TypeError):
            answer = record = None
        if not isinstance(answer, str):
            raise UserError(
                f"{file}:{number}: expected a JSON object with the text 'prediction'; got {line[:60]!r}"
            )
        if record.get('sentence', example.sentence) != example.sentence:
            raise UserError(
                f'{file}:{number}: this is the answer to another sentence than the {number}th of the '
                'test set (test.json, then hard_test.json)'
            )
        yield answer

"""What the answers of a system take for 1,000 reviews: a student and a large language model alike.

{"input_tokens": …, "output_tokens": …, "seconds": …, "cost": …}: tokens by the system's own vocabulary
(of an LLM those of the whole prompt), seconds in which it answered (of a student compiling
included, of an LLM without its start), cost by the price of an hour or of tokens, None without one.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fsa_jax import manifest
from fsa_jax.artifacts import PREDICTIONS, SCORES
from fsa_jax.data.store import PackedFolder
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.records import Prediction, read_jsonl

NAMES = ('input_tokens', 'output_tokens', 'seconds', 'cost')
Expense = dict[str, float | None]


def of_runs(
    folders: Sequence[Path], price_per_hour: float = 0.0, method: str = 'generate'
) -> Expense | None:
    """The mean over folders of predictions; None where one does not tell.

    `method` is which of `fsa zero-shot`, in folders of that stage.
    """
    found = [_of_run(folder, price_per_hour, method) for folder in folders]
    told = [one for one in found if one is not None]
    if len(told) < len(found):
        return None
    mean: Expense = {}
    for name in NAMES:
        values = [one[name] for one in told]
        known = [value for value in values if value is not None]
        mean[name] = sum(known) / len(known) if len(known) == len(values) else None
    return mean


def _of_run(folder: Path, price_per_hour: float, method: str) -> Expense | None:
    """Of a folder of predict, zero-shot or in-context, or of answers that come from one."""
    told = manifest.find(folder)
    if told is None:
        return None  # a file of answers tells nothing of what they took
    if told['stage'] in ('in-context', 'zero-shot'):
        cost = json.loads((folder / SCORES).read_text()).get('cost')
        if cost is None:
            return None  # of an earlier version
        llm = told['stage'] == 'in-context'
        return _of_cost(cost) if llm else _of_cost(cost[method], price_per_hour)
    if told['stage'] == 'answers':
        source = Path(told['inputs']['BenchmarkConfig.predictions']['path'])
        return _of_run(source, price_per_hour, method)
    packed = Path(told['inputs'].get('PredictConfig.data', {}).get('path', ''))
    if told['stage'] != 'predict' or not (packed / manifest.MANIFEST).is_file():
        return None
    return _of_student(folder, told, PackedFolder(packed).vocabulary, price_per_hour)


def _of_cost(cost: Mapping[str, Any], price_per_hour: float = 0.0) -> Expense:
    """Of the `cost` in a scores.json."""
    by, seconds = 1000 / max(cost['answered'], 1), cost['seconds_per_1000']
    return {
        'input_tokens': by * cost['prompt_tokens'],
        'output_tokens': by * cost['output_tokens'],
        'seconds': seconds,
        'cost': cost.get('cost_per_1000', _price(seconds, price_per_hour)),
    }


def _of_student(
    folder: Path, told: dict[str, Any], vocabulary: Vocabulary, price_per_hour: float
) -> Expense:
    rows = list(read_jsonl(Prediction, folder / PREDICTIONS))
    tokens = [
        count_tokens(vocabulary, texts)
        for texts in ([row.sentence for row in rows], [row.prediction for row in rows])
    ]
    by = 1000 / max(len(rows), 1)
    seconds = by * told['counts']['seconds']
    return {
        'input_tokens': by * tokens[0],
        'output_tokens': by * tokens[1],
        'seconds': seconds,
        'cost': _price(seconds, price_per_hour),
    }


def count_tokens(vocabulary: Vocabulary, texts: Sequence[str]) -> int:
    """Ids of all texts, each with its `</s>`."""
    return len(texts) + sum(map(len, vocabulary.encode_batch(list(texts))))


def _price(seconds: float, price_per_hour: float) -> float | None:
    return seconds / 3600 * price_per_hour if price_per_hour else None

"""Scores by class: of each polarity, and of each category where pairs have one (ACSA).

A class is scored as if only its pairs were asked for: those of the gold and of the prediction that
belong to it. A pair with the right term and the wrong polarity is thus wrong for the polarity that was
predicted and missed for that of the gold.
"""

from collections.abc import Sequence
from typing import Any

from fsa_jax import text_format
from fsa_jax.evaluate import f1
from fsa_jax.records import Prediction

_KINDS = {'acsa': {'polarity': 1, 'category': 0}, 'atsa': {'polarity': 1}}  # field of a pair
_SHOWN = ('precision', 'recall', 'f1', 'gold', 'predicted')


def breakdown(metric: str, rows: Sequence[Prediction]) -> dict[str, dict[str, dict[str, Any]]]:
    """{'polarity': {'positive': {'precision', 'recall', 'f1', 'gold', 'predicted'}, …}, 'category': …}.

    Classes are those of the gold, the most frequent first.
    """
    task, polarities = f1.parse_metric(metric)

    def pairs(texts) -> list[list[text_format.Pair]]:
        parsed = zip(texts, rows)
        return [text_format.parse(task, t, r.sentence, polarities).pairs for t, r in parsed]

    golds, predictions = pairs(r.gold or '' for r in rows), pairs(r.prediction for r in rows)
    result = {}
    for kind, place in _KINDS[task].items():
        scores = {}
        for name in {pair[place] for of_sentence in golds for pair in of_sentence}:
            ours, theirs = (
                [text_format.join(p for p in of if p[place] == name) for of in side]
                for side in (predictions, golds)
            )
            score = f1.score(metric, ours, theirs, [row.sentence for row in rows])
            scores[name] = {key: getattr(score, key) for key in _SHOWN}
        by_size = sorted(scores.items(), key=lambda item: (-item[1]['gold'], item[0]))
        result[kind] = dict(by_size)
    return result

"""Zero-shot sentiment: how likely an analysis goes on with each of the five levels. Nothing is generated.

Opinion Target 1: "<target>"
Aspect: <aspect>
Sentiment: Very Negative | Negative | Mild Sentiment | Positive | Very Positive
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from fsa_jax.corpus.sentiment import polarity
from fsa_jax.records import SENTIMENT_LEVELS

if TYPE_CHECKING:
    from fsa_jax.student.student import Student

WHOLE = ('experience', 'overall')  # target and aspect where a text is judged as a whole
POLARITIES = ('positive', 'neutral', 'negative')


def opening(target: str, aspect: str) -> str:
    """The analysis up to where its first sentiment stands."""
    return f'Opinion Target 1: "{target}"\nAspect: {aspect}\nSentiment:'


class SentimentScorer:
    """Scores texts, or targets in them, with a student that was distilled on analyses."""

    def __init__(self, student: Student):
        self._student = student
        self._levels = [student.vocabulary.encode(level) for level in SENTIMENT_LEVELS]
        self._polarities = [polarity(level) for level in SENTIMENT_LEVELS]

    def of_texts(
        self, texts: Sequence[str], target: str = WHOLE[0], aspect: str = WHOLE[1]
    ) -> list[dict[str, float]]:
        """The probability of each polarity of each text, after an analysis of `target`, `aspect`.

        A longer text than `Student.input_length` is judged in parts of whole sentences: the mean.
        """
        parts = [self._student.parts(text) for text in texts]
        flat = [part for one in parts for part in one]
        chances = iter(self.of_targets(flat, [(target, aspect)] * len(flat)))
        return [_mean([next(chances) for _ in one]) for one in parts]

    def of_targets(
        self, texts: Sequence[str], targets: Sequence[tuple[str, str]]
    ) -> list[dict[str, float]]:
        """The same of one (target, aspect) in each text: a softmax over the length-normalised
        log-likelihoods of the levels, added up by polarity."""
        scores = self.levels(texts, targets)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        return [
            {
                name: float(sum(p for p, level in zip(row, self._polarities) if level == name))
                for name in POLARITIES
            }
            for row in chances
        ]

    def levels(
        self, texts: Sequence[str], targets: Sequence[tuple[str, str]]
    ) -> Float[np.ndarray, 'N 5']:
        """Log-likelihood of each level divided by its number of ids, in nats.

        A text of more than `Student.input_length` ids is judged by those up to there.
        """
        if not texts:
            return np.zeros((0, len(SENTIMENT_LEVELS)), np.float32)
        vocabulary, limit = self._student.vocabulary, self._student.input_length
        inputs = [
            [*ids[: limit - 1], vocabulary.eos_id] for ids in vocabulary.encode_batch(list(texts))
        ]
        prefixes = vocabulary.encode_batch([opening(*target) for target in targets])
        found = self._student.log_likelihoods(inputs, prefixes, self._levels)
        return found / np.array([len(ids) for ids in self._levels], np.float32)


def _mean(chances: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([c[name] for c in chances])) for name in POLARITIES}

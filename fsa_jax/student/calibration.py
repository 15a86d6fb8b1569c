"""From the probability of being written to that of being right: Platt scaling on a validation split.

calibration.json: {"atsa": {"slope": 0.8, "offset": -0.3, "opinions": 214, "right": 150,
                            "brier_before": 0.21, "brier_after": 0.16}, …}
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fsa_jax.errors import UserError

FILE = 'calibration.json'
_FEWEST = 20  # opinions, of which some are right and some are wrong
_SEED = 0  # of the halves
_EDGE = 1e-6  # probabilities are taken to be at least this far from 0 and 1


@dataclass(frozen=True)
class Platt:
    """P(right) = sigmoid(slope * logit(p) + offset) (Platt 1999), and what it was fitted on.

    The Brier scores are mean squared errors of the confidence: `brier_before` of the raw one, and
    `brier_after` of what a scale that was fitted on the other half of the sentences makes of it.
    """

    slope: float
    offset: float
    opinions: int
    right: int
    brier_before: float
    brier_after: float

    def __call__(self, confidence: float) -> float:
        """The calibrated confidence."""
        return float(_sigmoid(self.slope * _logit(np.array(confidence)) + self.offset))


def fit(confidences: Sequence[float], right: Sequence[bool], sentences: Sequence[object]) -> Platt:
    """The likeliest slope and offset over all opinions, judged by cross-fitting.

    `sentences` tells which opinions are of the same sentence: they are in the same of two halves, each
    of which is judged by what is fitted on the other.

    Raises UserError where there are too few opinions, or all are right or all wrong, or of one sentence.
    """
    raw, truth = np.array(confidences, float), np.array(right, bool)
    of = np.unique(np.array(sentences), return_inverse=True)[1]
    hits, misses = int(truth.sum()), int((~truth).sum())
    there = np.random.default_rng(_SEED).permutation(len(np.unique(of)))
    if len(raw) < _FEWEST or not hits or not misses or len(there) < 2:
        raise UserError(
            f'{hits} right and {misses} wrong opinions in {len(there)} sentences of the validation '
            f'split are too few to calibrate; expected {_FEWEST}, some right and some wrong'
        )
    half = np.isin(of, there[::2])
    held_out = np.empty_like(raw)
    for judged in (half, ~half):
        slope, offset = _likeliest(raw[~judged], truth[~judged])
        held_out[judged] = _sigmoid(slope * _logit(raw[judged]) + offset)
    brier = [float(np.mean((p - truth) ** 2)) for p in (raw, held_out)]
    return Platt(*_likeliest(raw, truth), len(raw), hits, *brier)


def _likeliest(raw: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Slope and offset, with Platt's targets (n + 1) / (n + 2) against overfitting."""
    from scipy import optimize

    hits, misses = int(truth.sum()), int((~truth).sum())
    goal = np.where(truth, (hits + 1) / (hits + 2), 1 / (misses + 2))
    logits = _logit(raw)

    def loss(weights: np.ndarray) -> float:
        z = weights[0] * logits + weights[1]
        return float(np.mean(np.logaddexp(0.0, z) - goal * z))

    slope, offset = optimize.minimize(loss, np.array([1.0, 0.0]), method='BFGS').x
    return float(slope), float(offset)


def read(folder: Path) -> dict[str, Platt]:
    """The calibrations of a folder by task; none where it has no file."""
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        return {task: Platt(**values) for task, values in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f'{path} is not a calibration of `fsa calibrate`: {error}') from None


def to_json(calibrations: dict[str, Platt]) -> str:
    """The content of the file."""
    return json.dumps({k: dataclasses.asdict(v) for k, v in calibrations.items()}, indent=1) + '\n'


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return np.log(p / (1 - p))


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))

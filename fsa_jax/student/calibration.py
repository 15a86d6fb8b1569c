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
_EDGE = 1e-6  # probabilities are taken to be at least this far from 0 and 1


@dataclass(frozen=True)
class Platt:
    """P(right) = sigmoid(slope * logit(p) + offset) (Platt 1999), and what it was fitted on.

    The Brier scores (mean squared error of the confidence) are over those same opinions.
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


def fit(confidences: Sequence[float], right: Sequence[bool]) -> Platt:
    """The likeliest slope and offset, with Platt's targets (n + 1) / (n + 2) against overfitting.

    Raises UserError where there are too few opinions, or all are right or all wrong.
    """
    from scipy import optimize

    raw, truth = np.array(confidences, float), np.array(right, bool)
    hits, misses = int(truth.sum()), int((~truth).sum())
    if len(raw) < _FEWEST or not hits or not misses:
        raise UserError(
            f'{hits} right and {misses} wrong opinions of the validation split are too few to '
            f'calibrate; expected {_FEWEST}, some right and some wrong'
        )
    goal = np.where(truth, (hits + 1) / (hits + 2), 1 / (misses + 2))
    logits = _logit(raw)

    def loss(weights: np.ndarray) -> float:
        z = weights[0] * logits + weights[1]
        return float(np.mean(np.logaddexp(0.0, z) - goal * z))

    slope, offset = optimize.minimize(loss, np.array([1.0, 0.0]), method='BFGS').x
    after = _sigmoid(slope * logits + offset)
    brier = [float(np.mean((p - truth) ** 2)) for p in (raw, after)]
    return Platt(float(slope), float(offset), len(raw), hits, *brier)


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

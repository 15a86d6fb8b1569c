"""Teachers or students judged by people."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class JudgeExportConfig(Config):
    """A blinded sample of answers for people to rate."""

    systems: dict[str, str] = knob(
        {}, "who is judged: {'name': folder or file of `fsa teach`, `fsa corpus` or `fsa predict`}"
    )
    kind: str = knob('analysis', 'prompt kind that is judged; predictions have none and pass')
    reviews: int = knob(50, 'reviews drawn among those that all systems answered', low=1)
    seed: int = knob(0, 'seed of the draw and of the order', low=0)
    criteria: tuple[str, ...] = knob(
        (),
        'what is rated, more is better; empty: accuracy, reasoning quality, persuasiveness and '
        'hallucination (most points: nothing is made up)',
    )
    points: int = knob(5, 'a rating is 1 to so many', low=2, high=10)

    def check(self):
        if len(set(self.criteria)) < len(self.criteria):
            raise UserError(
                f'JudgeExportConfig.criteria must name each once; got {self.criteria!r}'
            )


@dataclass(frozen=True)
class JudgeScoreConfig(Config):
    """Ratings to means with intervals, and how far the raters agree."""

    export: str = knob('', 'folder of `fsa judge export`, with the key')
    ratings: tuple[str, ...] = knob(
        (),
        'what came back: CSV files (one a rater, or with a column rater) or Label Studio exports',
    )
    level: Literal['ordinal', 'interval'] = knob(
        'ordinal', "how Krippendorff's alpha weighs a distance"
    )
    bootstrap: int = knob(2000, 'resamples of the reviews for the 95 % intervals', low=100)
    seed: int = knob(0, 'seed of the resamples', low=0)

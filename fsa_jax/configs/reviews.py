"""Which reviews a teacher reads."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class ReviewsConfig(Config):
    """The reviews: where they lie, which pass, and how many of each rating are drawn."""

    path: str = knob(
        '', 'a file or folder of reviews: .json, .jsonl, .csv (each also .gz), .parquet'
    )
    text_field: str = knob('', 'column of the text; empty: as Yelp, Amazon and others name it')
    rating_field: str = knob('', 'column of the stars, 1 to 5; empty: as they name it, or none')
    id_field: str = knob('', 'column of the id; empty: as they name it, or file and row')
    domain: str = knob('', "domain of the reviews, such as 'restaurant'; empty: column 'domain'")
    lower_case: tuple[str, ...] = knob(('computer',), 'domains whose text is lower-cased')
    min_characters: int = knob(100, 'least characters of a review', low=1)
    max_characters: int = knob(899, 'most characters of a review', low=1)
    benchmarks: tuple[str, ...] = knob(
        (),
        'files and folders of benchmark sentences, all splits: a review that holds one is set aside; '
        'empty: the benchmarks under FSA_DATA_DIR, as it is now',
    )
    near_duplicates: float = knob(
        0.8,
        'Jaccard similarity of word triples from which two reviews are near duplicates; 0: not looked for',
        low=0.0,
        high=1.0,
    )
    size: int = knob(20_000, 'reviews drawn; 0: as many as the shares of the ratings allow', low=0)
    balance: Literal['weights', 'uniform', 'quotas'] = knob(
        'weights',
        'reviews of each rating: natural shares times rating_weights, as many of each, or quotas',
    )
    rating_weights: tuple[float, ...] = knob(
        (1.0, 2.0, 4.0, 2.0, 1.0), 'weights of 1 to 5 stars, multiplied onto their natural shares'
    )
    quotas: tuple[int, ...] = knob(
        (), "reviews of 1 to 5 stars, for balance='quotas'; size is then their sum"
    )
    implicit_share: float | None = knob(
        None, 'exact share of implicit reviews; None: as they come', low=0.0, high=1.0
    )
    implicit_from: str = knob(
        '',
        'an earlier analysis of these reviews (the output of `fsa teach` or of `fsa corpus`) that tells '
        'which are implicit; empty: the cue score',
    )
    seed: int = knob(0, 'seed of the draw', low=0)

    def check(self):
        # So that config.gin and the manifest name the data, and other data is another job.
        root = os.environ.get('FSA_DATA_DIR', '')
        if not self.benchmarks and root:
            object.__setattr__(self, 'benchmarks', (str(Path(root) / 'fsa'),))
        if self.min_characters > self.max_characters:
            raise UserError(
                f'ReviewsConfig.min_characters={self.min_characters} is above '
                f'max_characters={self.max_characters}'
            )
        if self.implicit_from and self.implicit_share is None:
            raise UserError('ReviewsConfig.implicit_from needs ReviewsConfig.implicit_share')
        self._check_five('rating_weights')
        if self.balance == 'quotas' or self.quotas:
            self._check_five('quotas')
            if self.balance != 'quotas':
                raise UserError("ReviewsConfig.quotas needs ReviewsConfig.balance='quotas'")

    def _check_five(self, name: str) -> None:
        values = getattr(self, name)
        if len(values) != 5 or min(values) < 0 or not sum(values):
            raise UserError(
                f'ReviewsConfig.{name} must be five numbers >= 0, for 1 to 5 stars, not all 0; '
                f'got {values!r}'
            )

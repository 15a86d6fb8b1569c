"""The seeded world: sentences and reviews about its domains, with the opinions they hold.

A share of all templates, terms and opinion words is held out: only test sentences use it. What a
text says is drawn here; how it says it, in writer.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from fsa_jax.configs import LabConfig
from fsa_jax.lab.hotel import HOTEL
from fsa_jax.lab.laptop import LAPTOP
from fsa_jax.lab.restaurant import RESTAURANT
from fsa_jax.lab.wording import languages
from fsa_jax.lab.writer import Text, Writer

DOMAINS = {domain.name: domain for domain in (RESTAURANT, LAPTOP, HOTEL)}
TAUGHT = ('restaurant', 'laptop')
"""Domains of the teacher's corpus; the third is never in it."""

_STARS = (1, 2, 3, 4, 5)
_NATURAL = (0.12, 0.10, 0.14, 0.28, 0.36)
"""Share of each number of stars among benchmark sentences, as on review sites."""
_SAMPLED = tuple(weight * share for weight, share in zip((1, 2, 4, 2, 1), _NATURAL))
"""The same among the teacher's reviews: the published corpus weighs the stars 1:2:4:2:1."""

# How likely is a text of sentences with so many opinions each.
_SENTENCES: dict[tuple[int, ...], int] = {(0,): 10, (1,): 56, (2,): 28, (3,): 6}
_REVIEWS: dict[tuple[int, ...], int] = {
    (1,): 24,
    (2,): 30,
    (3,): 12,
    (1, 1): 20,
    (0, 1): 4,
    (1, 0): 4,
    (2, 1): 6,
}


class World:
    """All text of one seed: equal calls with equal random states give equal text."""

    def __init__(self, config: LabConfig):
        self.config = config
        rng = Random(f'{config.seed}/wording')
        self.languages = languages(DOMAINS.values(), config.held_out_share, rng)

    def sentence(self, domain: str, rng: Random, *, test: bool = False) -> Text:
        """One benchmark sentence; `test` lets it use what is held out."""
        return self._text(domain, rng, _NATURAL, _SENTENCES, test)

    def reviews(self, domain: str, count: int) -> Iterator[Text]:
        """`count` different reviews of one or two sentences, as the teacher reads them."""
        rng = Random(f'{self.config.seed}/reviews/{domain}')
        seen: set[str] = set()
        while len(seen) < count:
            text = self._text(domain, rng, _SAMPLED, _REVIEWS, False)
            if text.text not in seen:
                seen.add(text.text)
                yield text

    def _text(
        self,
        domain: str,
        rng: Random,
        stars: Sequence[float],
        shapes: Mapping[tuple[int, ...], int],
        test: bool,
    ) -> Text:
        """A text of drawn stars and shape, redrawn while the writer refuses it."""
        values, weights = list(shapes), list(shapes.values())
        while True:
            writer = Writer(self.languages[domain], self.config.implicit_share, rng, test)
            text = writer.text(rng.choices(_STARS, stars)[0], rng.choices(values, weights)[0])
            if text:
                return text

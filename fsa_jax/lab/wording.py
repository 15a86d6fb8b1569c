"""How a domain is spoken of: every choice as a pool, a share of which is held out for the test."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from fsa_jax.lab import lexicon
from fsa_jax.lab.grammar import items, lines
from fsa_jax.lab.lexicon import Domain, Subject


@dataclass(frozen=True)
class Pool:
    """Things to choose from, common ones first. Only test sentences use what is `held`."""

    everything: tuple[str, ...]
    held: frozenset[str]
    train: tuple[str, ...]

    @classmethod
    def split(cls, choices: Iterable[str], share: float, rng: Random) -> 'Pool':
        """Holds out about `share` of the choices, drawn by `rng`; one choice at least stays."""
        choices = tuple(choices)
        count = min(int(share * len(choices) + rng.random()), max(len(choices) - 1, 0))
        return cls.of(choices, frozenset(rng.sample(choices, count)))

    @classmethod
    def of(cls, choices: Sequence[str], held: frozenset[str]) -> 'Pool':
        """A pool whose held-out part is known."""
        return cls(tuple(choices), held, tuple(c for c in choices if c not in held))

    def pick(self, rng: Random, test: bool) -> str:
        """One choice, the earlier the likelier: half of the picks come from the first 35 %."""
        choices = self.everything if test else self.train
        return choices[int(len(choices) * rng.random() ** 1.5)]


class Wording:
    """The pools of one subject. `own` are its words that no other subject of the domain has."""

    def __init__(self, subject: Subject, ambiguous: set[str], share: float, rng: Random):
        def pools(table, parse):
            return {level: Pool.split(parse(text), share, rng) for level, text in table.items()}

        self.terms = Pool.split(items(subject.terms), share, rng)
        self.modifiers = Pool.split(items(subject.modifiers), share, rng)
        self.words = pools(subject.words, items)
        self.implicit = pools(subject.implicit, lines)
        self.senses = items(subject.senses)
        own = {
            level: Pool.of([w for w in pool.everything if w not in ambiguous], pool.held)
            for level, pool in self.words.items()
        }
        self.own = {level: pool for level, pool in own.items() if pool.train}


@dataclass(frozen=True)
class Language:
    """All wording of a domain: `shared` pools by name and, for words, level ('VERBS-2')."""

    domain: Domain
    shared: dict[str, Pool]
    wording: dict[str, Wording]


def languages(domains: Iterable[Domain], share: float, rng: Random) -> dict[str, Language]:
    """The language of each domain by name; a `share` of every pool is held out."""
    shared = {}
    for name, value in vars(lexicon).items():
        if name.isupper():
            for level, text in value.items() if isinstance(value, dict) else [('', value)]:
                choices = lines(text) if '\n' in text else items(text)
                shared[f'{name}{level}'] = Pool.split(choices, share, rng)
    return {
        domain.name: Language(
            domain,
            shared,
            {s.category: Wording(s, _ambiguous(domain), share, rng) for s in domain.subjects},
        )
        for domain in domains
    }


def _ambiguous(domain: Domain) -> set[str]:
    """Opinion words that more than one subject of a domain has."""
    counts = Counter(w for s in domain.subjects for t in s.words.values() for w in set(items(t)))
    return {word for word, count in counts.items() if count > 1}

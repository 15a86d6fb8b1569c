"""Writes one text: stars -> levels -> a clause for each opinion -> joined by what fits their polarities.

A clause is explicit (adjectives with intensifiers, downtoners and negation; verbs; nouns; good words
turned to bad news and back; two terms that share a word or stand against each other) or implicit (a
statement that lets the opinion be felt). Its `manner` is 'adjective', 'word', 'turned', 'shared',
'contrasted', 'conflicting', 'mention' or 'implicit'.
"""

from dataclasses import dataclass
from random import Random

from fsa_jax.lab.grammar import ARTICLE, Pieces, items, join, lines, render
from fsa_jax.lab.lexicon import Subject
from fsa_jax.lab.wording import Language, Wording

LONGEST = 72
"""Most characters of a text: it stays under 32 tokens of a vocabulary of 2,000 pieces."""
MOST_OPINIONS = 3

# Chance of each level, -2 to 2, given the stars.
_LEVELS = {
    1: (0.42, 0.42, 0.08, 0.06, 0.02),
    2: (0.18, 0.50, 0.12, 0.16, 0.04),
    3: (0.07, 0.28, 0.25, 0.30, 0.10),
    4: (0.03, 0.15, 0.10, 0.47, 0.25),
    5: (0.02, 0.06, 0.06, 0.40, 0.46),
}
# Words of the frames that take no adjective.
_WORD_FRAMES = {
    'WITH_VERB': ('VERBS', 'v'),
    'WITH_NOUN': ('NOUNS', 'n'),
    'WITH_PREDICATE': ('PREDICATES', 'p'),
}


@dataclass(frozen=True)
class Opinion:
    """A gold opinion. `level` is -2 (Very Negative) to 2; no `words` means it is implicit.

    `target` (None: not named) is text[start:end]; `words` are (start, end, text). `manner` is how
    it is put and `evidence` the phrase or statement that it rests on.
    """

    category: str
    level: int
    polarity: str
    target: str | None = None
    start: int = 0
    end: int = 0
    words: tuple[tuple[int, int, str], ...] = ()
    manner: str = ''
    evidence: str = ''


@dataclass(frozen=True)
class Text:
    """A sentence or review of the world, with its gold opinions in the order of the text."""

    text: str
    domain: str
    stars: int
    opinions: tuple[Opinion, ...]


@dataclass
class _Draft:
    """An opinion while its clause is made."""

    subject: Subject
    level: int
    manner: str
    evidence: str = ''


Owners = tuple[int, ...]
"""Indices of the drafts that a word speaks for."""


class Writer:
    """The writer of one text; its clauses share the domain, the random state and the drafts."""

    def __init__(self, language: Language, implicit_share: float, rng: Random, test: bool):
        self.language, self.domain = language, language.domain
        self.implicit_share, self.rng, self.test = implicit_share, rng, test
        self.drafts: list[_Draft] = []

    def text(self, stars: int, shape: tuple[int, ...]) -> Text | None:
        """Sentences of about so many opinions; None: too long, or a term is named twice."""
        pieces: Pieces = []
        for count in shape:
            end = '.' if self.rng.random() < 0.9 else '!'
            pieces += [*self._sentence(stars, count), (f'{end} ', None)]
        text, spans = join(pieces)
        targets = [text[start:end] for (kind, _), start, end in spans if kind == 'target']
        if (
            len(text) > LONGEST
            or len(self.drafts) > MOST_OPINIONS
            or len({*targets}) < len(targets)
        ):
            return None
        placed = sorted(self._opinion(index, text, spans) for index in range(len(self.drafts)))
        return Text(text, self.domain.name, stars, tuple(opinion for *_, opinion in placed))

    def _opinion(self, index: int, text: str, spans) -> tuple[int, int, Opinion]:
        """The opinion of a draft behind its place in the text."""
        draft = self.drafts[index]
        place = start = end = 0
        words = []
        for (kind, owner), first, last in spans:
            if kind == 'word' and index in owner:
                words.append((first, last, text[first:last]))
            elif kind == 'target' and owner == index:
                place, start, end = first, first, last
            elif kind == 'clause' and owner == index:
                place = first
        sign = 'negative' if draft.level < 0 else 'positive' if draft.level else 'neutral'
        opinion = Opinion(
            category=draft.subject.category,
            level=draft.level,
            polarity='conflict' if draft.manner == 'conflicting' else sign,
            target=text[start:end] or None,
            start=start,
            end=end,
            words=tuple(words),
            manner=draft.manner,
            evidence=draft.evidence,
        )
        return place, index, opinion

    # Clauses ----------------------------------------------------------------------------------

    def _sentence(self, stars: int, count: int) -> Pieces:
        if count:
            pieces = self._clause(stars)
        else:
            pieces = render(self.rng.choice(lines(self.domain.facts)), self.rng)
        for _ in range(count - 1):
            before, more = self.drafts[-1].level, self._clause(stars)
            joiner = 'UNLIKE' if before * self.drafts[-1].level < 0 else 'ALIKE'
            pieces = render(self._pick(joiner), self.rng, {'1': pieces, '2': more})
        if self.rng.random() < 0.12:
            pieces = [(f'{self._pick("OPENERS")} ', None), *pieces]
        if self.rng.random() < 0.08:
            pieces.append((f' {self.rng.choice(items(self.domain.when))}', None))
        return pieces

    def _clause(self, stars: int) -> Pieces:
        """One clause; it holds one opinion, or two when terms are shared or contrasted."""
        rng = self.rng
        subject = rng.choices(self.domain.subjects, [s.weight for s in self.domain.subjects])[0]
        level = rng.choices((-2, -1, 0, 1, 2), _LEVELS[stars])[0]
        wording = self.language.wording[subject.category]
        start = ('', ('clause', len(self.drafts)))
        if level in wording.implicit and rng.random() < self.implicit_share:
            return [start, *self._implicit(_Draft(subject, level, 'implicit'), wording)]
        roll = rng.random()
        if level == 0 and roll < 0.3:
            return [start, *self._mention(_Draft(subject, 0, 'mention'), wording)]
        if level and roll < 0.03:
            return [start, *self._conflicting(_Draft(subject, 0, 'conflicting'), wording)]
        if level and roll < 0.13:
            return [start, *self._pair(subject, level, wording)]
        return [start, *self._explicit(_Draft(subject, level, 'adjective'), wording)]

    def _implicit(self, draft: _Draft, wording: Wording) -> Pieces:
        index = self._add(draft)
        template = wording.implicit[draft.level].pick(self.rng, self.test)
        pieces = render(template, self.rng, self._slots(index, wording), index)
        draft.evidence = join(pieces)[0]
        return pieces

    def _mention(self, draft: _Draft, wording: Wording) -> Pieces:
        slots = self._slots(self._add(draft), wording)
        return render(self._pick('MENTIONS'), self.rng, slots)

    def _conflicting(self, draft: _Draft, wording: Wording) -> Pieces:
        index = self._add(draft)
        up, down = self.rng.sample((1, -1), 2)
        slots = self._slots(index, wording)
        slots['a'] = self._word(wording, up, (index,))
        slots['c'] = self._word(wording, down, (index,))
        draft.evidence = f'{join(slots["a"])[0]} but {join(slots["c"])[0]}'
        return render(self._pick('CONFLICTING'), self.rng, slots)

    def _pair(self, subject: Subject, level: int, wording: Wording) -> Pieces:
        """Two terms of one subject: one word for both, or the second stands against the first."""
        contrast = self.rng.random() < 0.4
        if contrast:
            level = 1 if level > 0 else -1
        other = -level if contrast else level
        manner = 'contrasted' if contrast else 'shared'
        first = self._add(_Draft(subject, level, manner))
        second = self._add(_Draft(subject, other, manner))
        slots, others = self._slots(first, wording), self._slots(second, wording)
        while join(others['t'])[0] == join(slots['t'])[0]:
            others = self._slots(second, wording)
        slots |= {'u': others['t'], 'uwas': others['was']}
        slots['a'] = self._adjective(wording, level, (first,) if contrast else (first, second))
        pieces = render(self._pick(manner.upper()), self.rng, slots)
        self.drafts[first].evidence = join(slots['a'])[0]
        self.drafts[second].evidence = join(pieces if contrast else slots['a'])[0]
        return pieces

    def _explicit(self, draft: _Draft, wording: Wording) -> Pieces:
        level = draft.level
        frames, weights = ['PREDICATIVE', 'ATTRIBUTIVE'], [10.0, 5.0]
        if level in wording.own:
            frames, weights = [*frames, 'UNTARGETED'], [*weights, 1.5]
        for frame, weight in (('WITH_VERB', 3), ('WITH_NOUN', 2), ('WITH_PREDICATE', 1.5)):
            if f'{_WORD_FRAMES[frame][0]}{level}' in self.language.shared:
                frames, weights = [*frames, frame], [*weights, weight]
        if abs(level) == 1:
            frames, weights = [*frames, f'TURNED_{"UP" if level > 0 else "DOWN"}'], [*weights, 2]
        return self._framed(self.rng.choices(frames, weights)[0], draft, wording)

    def _framed(self, frame: str, draft: _Draft, wording: Wording) -> Pieces:
        """A clause of one opinion in one of the shared frames."""
        index, level = self._add(draft), draft.level
        slots, owners = self._slots(index, wording), (index,)
        if frame in _WORD_FRAMES:
            pool, slot = _WORD_FRAMES[frame]
            slots[slot] = [(self._pick(f'{pool}{level}'), ('word', owners))]
            draft.manner = 'word'
        elif frame == 'UNTARGETED':
            slot = 'a'
            word = wording.own[level].pick(self.rng, self.test)
            slots[slot] = [(word, ('word', owners))]
        elif frame == 'PREDICATIVE':
            slot = 'a'
            slots[slot] = self._adjective(wording, level, owners)
        else:
            slot = 'b'
            draft.manner = 'adjective' if frame == 'ATTRIBUTIVE' else 'turned'
            shown = level if frame == 'ATTRIBUTIVE' else -level
            slots[slot] = self._adjective(wording, shown, owners, bare=True)
        pieces = render(self._pick(frame), self.rng, slots)
        draft.evidence = join(pieces if draft.manner == 'turned' else slots[slot])[0]
        return pieces

    # Words ------------------------------------------------------------------------------------

    def _adjective(
        self, wording: Wording, level: int, owners: Owners, *, bare: bool = False
    ) -> Pieces:
        """An adjective phrase of a level; `bare` fits before a noun."""

        def modified(modifiers: str, level: int) -> Pieces:
            return [(f'{self._pick(modifiers)} ', None), *self._word(wording, level, owners)]

        roll, way = self.rng.random(), 1 if level > 0 else -1
        if abs(level) == 2 and roll < 0.35:
            return modified('INTENSIFIERS', way)
        if bare or level == 0:
            return self._word(wording, level, owners)
        if abs(level) == 2 and roll < 0.5:
            return modified('EMPHASIS', level)
        if level == -1 and roll < 0.15:
            return modified('DOWNTONERS', level)
        if abs(level) == 1 and roll < 0.35:
            return modified('NEGATIONS', -way)
        first, second = (self._word(wording, level, owners) for _ in range(2))
        return [*first, (' and ', None), *second] if roll > 0.8 and first != second else first

    def _word(self, wording: Wording, level: int, owners: Owners) -> Pieces:
        """An opinion word of a level: of the subject itself, or one that fits anything."""
        if self.rng.random() < 0.6:
            word = wording.words[level].pick(self.rng, self.test)
        else:
            word = self._pick(f'ADJECTIVES{level}')
        return [(word, ('word', owners))]

    def _slots(self, index: int, wording: Wording) -> dict[str, Pieces]:
        """A term as the target of a draft, perhaps with a modifier, and what agrees with it."""
        term = wording.terms.pick(self.rng, self.test)
        plural, article = term.endswith('*'), term[-1] not in '*~'
        term = term.rstrip('*~')
        if wording.modifiers.everything and ' ' not in term and self.rng.random() < 0.25:
            term = f'{wording.modifiers.pick(self.rng, self.test)} {term}'
        sense = self.rng.choice(wording.senses)
        words = {
            'was': 'were' if plural else 'was',
            'is': 'are' if plural else 'is',
            'has': 'have' if plural else 'has',
            'it': 'they' if plural else 'it',
            'sense': sense.replace('was ', 'were ') if plural else sense,
        }
        slots: dict[str, Pieces] = {name: [(word, None)] for name, word in words.items()}
        return slots | {'t': [(term, ('target', index))], 'one': [ARTICLE] if article else []}

    def _pick(self, name: str) -> str:
        return self.language.shared[name].pick(self.rng, self.test)

    def _add(self, draft: _Draft) -> int:
        self.drafts.append(draft)
        return len(self.drafts) - 1


def is_hard(text: Text) -> bool:
    """Whether an opinion is implicit or the polarities differ, as in the hard test files."""
    return any(not o.words for o in text.opinions) or len({o.polarity for o in text.opinions}) > 1

"""A scripted teacher: analyses and rewritings of the world's reviews, with errors at chosen rates.

It knows the gold opinions. Every error it makes on purpose is kept beside its answer, so that a
filter can be scored against the truth.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from fsa_jax.configs import LabConfig
from fsa_jax.lab.grammar import items
from fsa_jax.lab.lexicon import Domain
from fsa_jax.lab.writer import MOST_OPINIONS, Opinion, Text
from fsa_jax.records import SENTIMENT_LEVELS

LONGEST_ANSWER = 300
"""Characters above which the reasoning gets terse: answers stay under 96 tokens."""

_ODD = {
    -2: ('Extremely Negative', 'very negative'),
    -1: ('Slightly Negative', 'Negative (Mild)', 'Mildly Negative'),
    0: ('Neutral', 'Mixed', 'Mild', 'Not specified'),
    1: ('Slightly Positive', 'Positive (Mild)', 'Mildly Positive'),
    2: ('Extremely Positive', 'very positive'),
}
_VERDICTS = {
    -2: ('is strong criticism', 'shows anger'),
    -1: ('is criticism', 'shows disappointment'),
    0: ('is neither praise nor criticism', 'is a plain fact'),
    1: ('is praise', 'shows satisfaction'),
    2: ('is strong praise', 'shows delight'),
}
_FEELINGS = {
    -2: ('i was furious about', 'i absolutely hated', 'i was appalled by'),
    -1: ('i was disappointed with', 'i was unhappy with', 'i was annoyed by'),
    0: ('i felt neutral about', 'i had no strong feelings about'),
    1: ('i was happy with', 'i was pleased with', 'i enjoyed'),
    2: ('i absolutely loved', 'i was thrilled with', 'i was delighted by'),
}
_MIXED = ('i had mixed feelings about',)
_NOTES = (
    'Note: the review is short.',
    'Confidence: 90%',
    'ID: 12',
    'Please let me know if it helps.',
)


@dataclass(frozen=True)
class Mistake:
    """One error made on purpose: `kind` is a rate of LabConfig (error_<kind>).

    `opinion` is the index of the gold opinion it concerns, None for the whole answer; `detail` says
    what was written: the level, the made-up target, the kind of malformation.
    """

    kind: str
    opinion: int | None
    detail: str


@dataclass(frozen=True)
class Truth:
    """What is true of an answer: the gold opinions of its review, and the mistakes it holds.

    `answer` is its fingerprint: another answer to the same review holds other mistakes.
    """

    id: str
    kind: str
    answer: str
    opinions: tuple[Opinion, ...]
    mistakes: tuple[Mistake, ...]


def fingerprint(answer: str) -> str:
    """64 bits of the sha256 of an answer, in hex."""
    return hashlib.sha256(answer.encode('utf-8', 'replace')).hexdigest()[:16]


@dataclass(frozen=True)
class _Said:
    """An opinion as the teacher tells it."""

    target: str
    aspect: str
    level: int
    sentiment: str
    opinion: Opinion


class Teacher:
    """Answers one review after the other; `rng` decides wording and mistakes."""

    def __init__(self, config: LabConfig, domain: Domain, rng: Random):
        self.config, self.domain, self.rng = config, domain, rng
        self.subjects = {subject.category: subject for subject in domain.subjects}

    def answer(self, kind: str, review: Text) -> tuple[str, tuple[Mistake, ...]]:
        """The text of an 'analysis' or 'rewriting' of a review, and the mistakes in it."""
        said, mistakes = self._understood(review)
        malformed = self.rng.random() < self.config.error_malformed
        write, forms = (
            (self._analysis, self._broken_analyses)
            if kind == 'analysis'
            else (self._rewriting, self._broken_rewritings)
        )
        text = write(said)
        if malformed:
            form, breaks = self.rng.choice(forms(said))
            text = breaks(text)
            mistakes.append(Mistake('malformed', None, form))
        return text, tuple(mistakes)

    def _understood(self, review: Text) -> tuple[list[_Said], list[Mistake]]:
        """What the teacher makes of a review: the gold opinions but for its mistakes."""
        rng, config = self.rng, self.config
        said, mistakes = [], []
        for index, opinion in enumerate(review.opinions):
            if rng.random() < config.error_missed_target:
                mistakes.append(Mistake('missed_target', index, opinion.target or ''))
                continue
            level = opinion.level
            if rng.random() < config.error_wrong_sentiment:
                level = -level or rng.choice((-1, 1))
                mistakes.append(Mistake('wrong_sentiment', index, SENTIMENT_LEVELS[level + 2]))
            said.append(self._say(opinion, level))
        if len(said) < MOST_OPINIONS and rng.random() < config.error_made_up_target:
            target, subject = rng.choice(items(self.domain.foreign)), self.domain.subjects[-1]
            made_up = Opinion(subject.category, rng.choice((-1, 1)), '', target, manner='word')
            said.append(self._say(made_up, made_up.level))
            mistakes.append(Mistake('made_up_target', None, target))
        return said, mistakes

    def _say(self, opinion: Opinion, level: int) -> _Said:
        subject = self.subjects[opinion.category]
        aspect = self.rng.choice(items(subject.names))
        target = opinion.target or subject.implied
        return _Said(target, aspect, level, SENTIMENT_LEVELS[level + 2], opinion)

    # Analyses ---------------------------------------------------------------------------------

    def _analysis(self, said: list[_Said]) -> str:
        reasons = [self._reason(item) for item in said]
        text = _blocks(said, reasons)
        return text if len(text) <= LONGEST_ANSWER else _blocks(said, [_terse(s) for s in said])

    def _reason(self, item: _Said) -> str:
        verdict, evidence = self.rng.choice(_VERDICTS[item.level]), item.opinion.evidence
        if not evidence:
            return f'this {verdict}.'
        return f'"{evidence}" {verdict}{", implied" if not item.opinion.words else ""}.'

    def _broken_analyses(self, said: list[_Said]) -> list[tuple[str, Callable[[str], str]]]:
        """(name, function of the sound answer) of the ways to break this analysis."""

        def one_line(text: str) -> str:
            return text.replace('\n\n', '\0').replace('\n', ' -- ').replace('\0', '\n\n')

        def odd(text: str) -> str:
            strange = [replace(s, sentiment=self.rng.choice(_ODD[s.level])) for s in said]
            return _blocks(strange, [_terse(s) for s in said])

        def carried(text: str) -> str:
            head, _, rest = text.partition('\nOpinion Target 2:')
            return f'{head}{rest[rest.index(chr(10)) :]}'

        forms: list[tuple[str, Callable[[str], str]]] = [('cut', self._cut), ('note', self._note)]
        if said:
            forms += [('one_line', one_line), ('odd_sentiment', odd)]
        if len(said) > 1:
            forms.append(('carried_over', carried))
        if len(said) == 1 and len(said[0].opinion.evidence) <= 30:
            forms.append(('continuation', self._continuation))
        return forms

    def _cut(self, text: str) -> str:
        """The answer as a token limit leaves it."""
        return text[: int(len(text) * self.rng.uniform(0.5, 0.95))].rstrip()

    def _note(self, text: str) -> str:
        return f'{text}\n{self.rng.choice(_NOTES)}'

    def _continuation(self, text: str) -> str:
        """The teacher goes on with a review that nobody wrote."""
        target = self.rng.choice(items(self.domain.foreign))
        made_up = self._say(Opinion(self.domain.subjects[0].category, 1, '', target), 1)
        return (
            f'{text}\n\nReview: the {target} was good.\n\n{_blocks([made_up], [_terse(made_up)])}'
        )

    # Rewritings -------------------------------------------------------------------------------

    def _rewriting(self, said: list[_Said]) -> str:
        return ' '.join(self._feeling(item) for item in said) or 'i had nothing to complain about.'

    def _feeling(self, item: _Said) -> str:
        mixed = item.opinion.polarity == 'conflict' and item.level == 0
        feeling = self.rng.choice(_MIXED if mixed else _FEELINGS[item.level])
        because = '' if item.opinion.manner in ('word', 'mention') else f': {item.opinion.evidence}'
        return f'{feeling} the {item.target}{because}.'

    def _broken_rewritings(self, said: list[_Said]) -> list[tuple[str, Callable[[str], str]]]:
        def headed(text: str) -> str:
            return f'Rewritten review: {text}'

        return [('cut', self._cut), ('note', self._note), ('heading', headed)]


def _terse(item: _Said) -> str:
    """The shortest reasoning: the evidence alone, while it is short."""
    evidence = item.opinion.evidence
    return f'"{evidence}".' if 0 < len(evidence) <= 24 else f'this {_VERDICTS[item.level][0]}.'


def _blocks(said: list[_Said], reasons: list[str]) -> str:
    """The answer in its normal form, a block for each opinion, a blank line between them."""
    blocks = [
        f'Opinion Target {number}: "{item.target}"\nAspect: {item.aspect}\n'
        f'Sentiment: {item.sentiment}\nReasoning: {reason}'
        for number, (item, reason) in enumerate(zip(said, reasons), 1)
    ]
    return '\n\n'.join(blocks) or 'No opinion target is named.'

"""Is what a teacher says in the review? Targets, quotations, numbers and names against the text."""

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

Support = Literal['verbatim', 'normalised', 'implicit', 'unsupported']
SUPPORTS: tuple[str, ...] = ('verbatim', 'normalised', 'implicit', 'unsupported')

_STOP = frozenset(
    [
        'a',
        'an',
        'and',
        'any',
        'are',
        'as',
        'at',
        'be',
        'been',
        'but',
        'by',
        'did',
        'do',
        'does',
        'for',
        'from',
        'had',
        'has',
        'have',
        'he',
        'her',
        'his',
        'how',
        'i',
        'if',
        'in',
        'into',
        'is',
        'it',
        'its',
        'just',
        'me',
        'my',
        'no',
        'not',
        'of',
        'on',
        'or',
        'our',
        's',
        'she',
        'so',
        'some',
        't',
        'than',
        'that',
        'the',
        'their',
        'them',
        'then',
        'there',
        'these',
        'they',
        'this',
        'those',
        'to',
        'too',
        'up',
        'us',
        'was',
        'we',
        'were',
        'what',
        'when',
        'where',
        'which',
        'who',
        'will',
        'with',
        'would',
        'you',
        'your',
    ]
)
_PRONOUNS = frozenset(
    [
        'i',
        'me',
        'it',
        'this',
        'that',
        'these',
        'those',
        'they',
        'them',
        'we',
        'us',
        'he',
        'she',
        'him',
        'her',
        'there',
        'here',
        'everything',
    ]
)
# What an opinion may be about though no word names it.
_GENERIC = frozenset(
    [
        'ambiance',
        'ambience',
        'atmosphere',
        'business',
        'company',
        'customer',
        'decor',
        'device',
        'employee',
        'establishment',
        'experience',
        'food',
        'item',
        'location',
        'meal',
        'menu',
        'overall',
        'place',
        'price',
        'product',
        'purchase',
        'quality',
        'restaurant',
        'seller',
        'server',
        'service',
        'shop',
        'staff',
        'store',
        'unit',
        'user',
        'value',
        'venue',
        'waiter',
        'waitress',
    ]
)
_ALIKE = 0.8  # of difflib: a misspelt target
_SPELT = 5  # letters: shorter words are alike by chance
_GAP = 3  # words between the words of a target that still name it
_ANALYST = frozenset(
    [
        'aspect',
        'conve',
        'describ',
        'direct',
        'explicit',
        'express',
        'expres',
        'general',
        'impl',
        'impli',
        'implicit',
        'indicat',
        'mention',
        'negativ',
        'neutral',
        'opinion',
        'overall',
        'phras',
        'positiv',
        'reason',
        'review',
        'reviewer',
        'sentiment',
        'stat',
        'statement',
        'sugg',
        'suggest',
        'target',
        'term',
        'toward',
        'user',
        'very',
        'word',
    ]
)  # stems every reasoning uses: no evidence
# Content words that a reasoning without a quotation must share with the review to carry a target that is
# not named: two are shared by one in twenty reasonings about other reviews, three by one in a hundred.
_EVIDENCE = 3
_SPACED = bytes(i if chr(i).isalnum() else 32 for i in range(128)) + bytes(128)
_WORDS = re.compile(r'[^\W_]+')
_PLACED = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # a word of `words`, apostrophes in it
_QUOTED = re.compile(  # each begins with its mark, which lets a search skip to the next one
    r'"([^"\n]{2,400})"|“([^”\n]{2,400})”|\'(?<![\w\']\')([^\'\n]{2,}(?:\'\w[^\'\n]*)*)\'(?!\w)|‘([^’\n]{2,400})’(?!\w)'
)
_ELLIPSIS = re.compile(r'\.\.+|…|\[[^\]]*\]|\s/\s')
_DENIED = re.compile(
    r"\b(?:does|did|do|is|are|was|were)(?:\s+not|n['’]t)\s+(?:\w+ly\s+)?"
    r'(?:mention|address|discuss|specif|refer|comment|talk|speak|state)|\b(?:no|not|never|without)\s+(?:\w+\s+)?mention',
    re.IGNORECASE,
)
_IMPLIED = re.compile(r'\bimpl(?:ied|icit)|\binferred\b|\bassumed\b', re.IGNORECASE)


def words(text: str) -> list[str]:
    """Lower-case alphanumeric words after NFKC; an apostrophe joins (`don't` -> `dont`)."""
    if text.isascii():
        return text.lower().encode().translate(_SPACED, b"'").decode().split()
    text = unicodedata.normalize('NFKC', text).replace('’', "'")
    return _WORDS.findall(text.lower().replace("'", ''))


@functools.lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """A word without its commonest endings: enough to match plurals and verb forms."""
    for ending, instead in (
        ('ies', 'y'),
        ('ing', ''),
        ('ed', ''),
        ('es', ''),
        ('s', ''),
        ('ly', ''),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)] + instead
            break
    return word[:-1] if len(word) > 3 and word.endswith('e') else word


def content_stems(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order."""
    return [stem(w) for w in words(text) if w not in _STOP]


class Source:
    """A review, prepared once for many questions."""

    def __init__(self, text: str):
        self.text = text
        self.lower = text.lower()
        self.words = words(text)
        self.joined = f' {" ".join(self.words)} '

    @functools.cached_property
    def stems(self) -> frozenset[str]:
        """The stems of all words."""
        return frozenset(map(stem, self.words))

    def holds(self, phrase: str) -> bool:
        """Whether the words of `phrase` stand in the review, next to each other."""
        joined = ' '.join(words(phrase))
        return bool(joined) and f' {joined} ' in self.joined

    def quotes(self, quotation: str) -> bool:
        """Whether a quotation is the review's; an ellipsis or an insertion in [] may leave words out."""
        parts = [p for p in map(str.strip, _ELLIPSIS.split(quotation)) if words(p)]
        return all(self.holds(part) for part in parts)

    def support(self, target: str, reasoning: str = '', implied: bool = False) -> Support:
        """How the review carries an opinion target.

        verbatim: it stands there, but for case; normalised: all its content words do, in any form
        and order; implicit: not named, but it shares a word, is a pronoun, the reasoning cites the
        review, or every review is about it and the reasoning does not deny it; unsupported: nothing of
        it is there.
        """
        if _stands_in(target.lower(), self.lower):
            return 'verbatim'
        named, own = words(target), content_stems(target)
        joined = ''.join(named)
        if self.holds(target) or (own and all(s in self.stems for s in own)) or self._joins(joined):
            return 'normalised'
        shares = any(s in self.stems for s in own if len(s) > 2)
        if implied or not own or shares or not _PRONOUNS.isdisjoint(named):
            return 'implicit'
        if self._cites(reasoning, set(own)):
            return 'implicit'
        general = any(w in _GENERIC or w.removesuffix('s') in _GENERIC for w in named)
        return 'implicit' if general and not _DENIED.search(reasoning) else 'unsupported'

    def ground(self, target: str) -> str:
        """The words of the review that a target stands for, '' where there are none.

        The shortest run of words that holds all its content stems; else words spelt much like it.
        """
        own = set(content_stems(target))
        if len(self._places) != len(self.words):  # NFKC made more words of the text than it shows
            return ''
        spans = self._spans(own) if own else []
        if spans:
            start, end = min(spans, key=lambda span: (span[1] - span[0], span[0]))
            return self.text[self._places[start][0] : self._places[end][1]]
        size = max(1, len(words(target)))
        runs = {' '.join(self.words[i : i + size]): i for i in range(len(self.words) - size + 1)}
        spelt = ' '.join(words(target))
        near = difflib.get_close_matches(spelt, runs, n=1, cutoff=_ALIKE)
        if near and len(spelt) >= _SPELT:
            start = runs[near[0]]
            return self.text[self._places[start][0] : self._places[start + size - 1][1]]
        return ''

    def _spans(self, own: set[str]) -> list[tuple[int, int]]:
        """(first, last) index of the runs of words that hold all of `own`, hardly longer than it."""
        stems = [stem(w) for w in self.words]
        longest = len(own) + _GAP
        found = []
        for start, first in enumerate(stems):
            if first not in own:
                continue
            for end in range(start, min(start + longest, len(stems))):
                if own <= set(stems[start : end + 1]):
                    found.append((start, end))
                    break
        return found

    @functools.cached_property
    def _places(self) -> list[tuple[int, int]]:
        """Where each of `words` stands in the text."""
        return [m.span() for m in _PLACED.finditer(self.text)]

    def _joins(self, joined: str) -> bool:
        """Whether the letters are those of a word or of two adjacent ones: `DoorDash`, `door dash`."""
        return len(joined) >= _SPELT and any(
            joined in (one, one + other) for one, other in zip(self.words, [*self.words[1:], ''])
        )

    def _cites(self, reasoning: str, own: set[str]) -> bool:
        """Whether the reasoning holds a quotation, or enough words, of the review."""
        if any(content_stems(q) and self.quotes(q) for q in quotations(reasoning)):
            return True
        shared = {s for s in content_stems(reasoning) if len(s) > 2 and s in self.stems}
        return len(shared - _ANALYST - own) >= _EVIDENCE


def _stands_in(phrase: str, text: str) -> bool:
    """Whether `phrase` is in `text` and cuts no word in two."""
    if not phrase:
        return False
    start = text.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before.isalnum() and phrase[0].isalnum()) and not (
            after.isalnum() and phrase[-1].isalnum()
        ):
            return True
        start = text.find(phrase, start + 1)
    return False


def quotations(text: str) -> Iterator[str]:
    """What stands between quotation marks."""
    for match in _QUOTED.finditer(text):
        quoted = next(g for g in match.groups() if g is not None)
        if words(quoted):
            yield quoted


def says_implied(text: str) -> bool:
    """Whether a teacher says that something is implied rather than stated."""
    return bool(_IMPLIED.search(text))

"""Which target strings a row may have: what the scorer keeps, as automata over a vocabulary's ids.

    a | positive ; b | negative </s>          or nothing: </s>

In ATSA a term is a span of the sentence that begins where a word begins and ends where one ends; in
ACSA it is a category of an inventory. The ids of a string are those of `Vocabulary.encode`, which
go space-separated part by part (SentencePiece's pieces do not cross spaces); a part that does not
come back as it was, because the vocabulary normalises or does not know it, cannot be written.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.decode.automaton import START, Automaton
from fsa_jax.errors import UserError
from fsa_jax.records import POLARITIES

# An accent that stands behind its letter as a character of its own is of the word.
WORD = re.compile(r'\w[\w\u0300-\u036f]*|[^\w\s]')
MAX_TERM_WORDS = 24  # the longest term of the published training sets has 23
_SEPARATORS = frozenset('|;')
_MOST_PARTS = 200_000  # remembered with their ids


class Grammar:
    """Automata of sentences (ATSA) or of an inventory of categories (ACSA)."""

    def __init__(self, vocabulary: Vocabulary, polarities: Sequence[str] = POLARITIES):
        """UserError for polarities that the vocabulary cannot write, or that split the text form."""
        if any('▁' in piece[1:].lstrip('▁') for piece, _ in vocabulary.pieces):
            raise UserError(
                'constrained decoding needs a vocabulary whose pieces do not cross spaces '
                '(SentencePiece: split_by_whitespace=true); decode without it'
            )
        self.vocabulary = vocabulary
        self._parts: dict[str, list[int] | None] = {}
        self._bar, self._semicolon = vocabulary.encode('|'), vocabulary.encode(';')
        self._polarities = [self._ids(polarity, 'polarity') for polarity in polarities]

    def of_categories(self, categories: Iterable[str]) -> Automaton:
        """The automaton of pairs whose first half is one of `categories`, as the targets have them."""
        table = self._table()
        for category in categories:
            ids = self._ids(category, 'category')
            table.add(table.pair, [*ids, *self._bar], table.polarity)
        return self._automaton(table)

    def of_sentences(self, sentences: Sequence[str]) -> tuple[list[Automaton], list[int]]:
        """For each sentence the automaton of pairs whose first half is a span of its words, and how
        many of its spans the vocabulary cannot write."""
        if len(self._parts) > _MOST_PARTS:
            self._parts.clear()
        self._learn({part for text in sentences for part in _parts(text)})
        made = [self._of_sentence(text) for text in sentences]
        return [automaton for automaton, _ in made], [lost for _, lost in made]

    def _of_sentence(self, sentence: str) -> tuple[Automaton, int]:
        table = self._table()
        words = [match.span() for match in WORD.finditer(sentence)]
        lost = sum(
            self._add_terms(table, sentence, words[first : first + MAX_TERM_WORDS])
            for first in range(len(words))
        )
        return self._automaton(table), lost

    def _add_terms(self, table: '_Table', sentence: str, words: list[tuple[int, int]]) -> int:
        """Adds the spans that begin with the first of `words`; how many cannot be written."""
        state, begin, lost = table.pair, words[0][0], 0
        ids: list[int] | None = []
        for number, (start, end) in enumerate(words):
            previous = words[number - 1][1] if number else start
            if start > previous:  # a new part: the one before is whole
                if ids is None or sentence[previous:start] != ' ':
                    return lost + len(words) - number
                state, begin = table.walk(state, ids), start
            ids = self._parts_ids(sentence[begin:end])
            if ids is None:
                lost += 1
            else:
                table.add(state, [*ids, *self._bar], table.polarity)
        return lost

    def _table(self) -> '_Table':
        """Polarities and the end; no pairs yet."""
        table, end = _Table(), [self.vocabulary.eos_id]
        table.add(START, end, table.end)
        for ids in self._polarities:
            table.add(table.polarity, [*ids, *end], table.end)
        return table

    def _automaton(self, table: '_Table') -> Automaton:
        """All edges, once every pair is in the table: `;` goes on only where there is one."""
        for ids in self._polarities if table.has_pairs else ():
            table.add(table.polarity, [*ids, *self._semicolon], table.pair)
        return table.automaton()

    def _ids(self, text: str, name: str) -> list[int]:
        """Ids of a polarity or category; UserError where it cannot be written."""
        parts = text.split(' ')
        self._learn(parts)
        found = [self._parts[part] for part in parts]
        if not text or any(ids is None for ids in found):
            raise UserError(
                f'constrained decoding: the vocabulary cannot write the {name} {text!r} as it is '
                '(it is empty, holds | or ;, or characters or spaces that are normalised)'
            )
        return [i for ids in found for i in ids or ()]

    def _parts_ids(self, part: str) -> list[int] | None:
        if part not in self._parts:
            self._learn([part])
        return self._parts[part]

    def _learn(self, parts: Iterable[str]) -> None:
        """Ids of parts that were not met before, None for those that cannot be written."""
        new = sorted(set(parts) - self._parts.keys())
        for part, ids in zip(new, self.vocabulary.encode_batch(new)):
            # Behind another word a part begins with a space, and only with one.
            whole = self.vocabulary.decode([*self._bar, *ids]) == f'| {part}'
            sound = bool(part) and not _SEPARATORS & set(part)
            self._parts[part] = ids if whole and sound else None


def _parts(sentence: str) -> Iterable[str]:
    """The pieces of space-separated parts that spans of words begin or end with."""
    for part in sentence.split():
        words = [match.span() for match in WORD.finditer(part)]
        for number, (start, _) in enumerate(words):
            for _, end in words[number : number + MAX_TERM_WORDS]:
                yield part[start:end]


class _Table:
    """Edges that grow string by string: a trie whose leaves are joined to given states."""

    def __init__(self):
        self.pair, self.polarity, self.end = (
            1,
            2,
            3,
        )  # before a pair, before its polarity, after </s>
        self._states = 4
        self._targets: dict[tuple[int, int], int] = {}
        self._needs: dict[tuple[int, int], int] = {}
        self._least: dict[int, int] = {self.end: 0}  # ids from a given state to the end

    def add(self, state: int, ids: Sequence[int], target: int) -> None:
        """The string `ids` leads from `state` to `target`."""
        need = len(ids) - 1 + self._least[target]
        self._least[state] = min(self._least.get(state, need + 1), need + 1)
        for token in ids[:-1]:
            edge = state, token
            if edge not in self._targets:
                self._targets[edge] = self._states
                self._states += 1
            self._needs[edge] = min(self._needs.get(edge, need), need)
            state = self._targets[edge]
            need -= 1
        self._targets[state, ids[-1]] = target
        self._needs[state, ids[-1]] = need

    @property
    def has_pairs(self) -> bool:
        """Whether a string leads from the state before a pair."""
        return self.pair in self._least

    def walk(self, state: int, ids: Sequence[int]) -> int:
        """The state that `ids`, which begin a string added before, lead to."""
        for token in ids:
            state = self._targets[state, token]
        return state

    def automaton(self) -> Automaton:
        """The edges; those of the state before a pair also begin a text."""
        edges = [[*edge, target, self._needs[edge]] for edge, target in self._targets.items()]
        edges += [[START, *rest] for state, *rest in edges if state == self.pair]
        return Automaton(*np.array(edges, np.int32).reshape(-1, 4).T)

"""Which texts a constrained student may write, by metric: terms of its sentence, or an inventory."""

from collections.abc import Sequence
from pathlib import Path

from fsa_jax.data.tables import read_lines
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.decode.automaton import Automaton
from fsa_jax.decode.grammar import Grammar
from fsa_jax.errors import UserError
from fsa_jax.evaluate import f1


class Constraints:
    """Automata for sentences of any metric ('atsa', 'acsa', 'atsa:good,bad').

    `categories` is the inventory of ACSA, as the targets have them or as data sets do (FOOD#QUALITY),
    or the path of one file with a category a line.
    """

    def __init__(self, vocabulary: Vocabulary, categories: Sequence[str] = ()):
        self._vocabulary = vocabulary
        self._categories = read_inventory(categories)
        self._grammars: dict[str, Grammar] = {}
        self._inventories: dict[str, Automaton] = {}
        self.lost: list[int] = []  # of each sentence of the last call: spans that cannot be written
        self.unrepresentable = 0  # of all calls

    def automata(self, metric: str, sentences: Sequence[str]) -> list[Automaton]:
        """What each sentence may be answered with.

        Raises UserError for a metric without a text form, and for 'acsa' without an inventory.
        """
        task, polarities = f1.parse_metric(metric)
        grammar = self._grammars.setdefault(metric, Grammar(self._vocabulary, polarities))
        if task == 'atsa':
            automata, self.lost = grammar.of_sentences(sentences)
            self.unrepresentable += sum(self.lost)
            return automata
        if not self._categories:
            raise UserError(
                'constrained ACSA needs the inventory of categories: PredictConfig.categories, names '
                'or a file with one a line'
            )
        if metric not in self._inventories:
            self._inventories[metric] = grammar.of_categories(self._categories)
        self.lost = [0] * len(sentences)
        return [self._inventories[metric]] * len(sentences)


def read_inventory(categories: Sequence[str]) -> tuple[str, ...]:
    """Categories in the form of the targets ('food quality'), repeats left out."""
    lines = list(categories)
    if len(lines) == 1 and Path(lines[0]).is_file():
        lines = [line for _, line in read_lines(Path(lines[0]))]
    names = (line.strip().lower().replace('#', ' ') for line in lines)
    return tuple(dict.fromkeys(filter(None, names)))

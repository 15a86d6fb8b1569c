"""Inputs that the data of a report share: between splits, across tasks, between corpus and test."""

from collections.abc import Iterable
from dataclasses import dataclass

from fsa_jax.data import overlap
from fsa_jax.data.store import PackedFolder, TokenStore
from fsa_jax.evaluate.lineage import Node

SEVERAL_VOCABULARIES = 'packed with different vocabularies, so their inputs were not compared'


@dataclass(frozen=True)
class Leak:
    """`count` distinct inputs of a held-out split ('task/split') that lie in another split too."""

    split: str
    other: str
    count: int


@dataclass(frozen=True)
class Leakage:
    """What was compared, what is shared, and what could not be compared."""

    splits: tuple[str, ...]
    leaks: tuple[Leak, ...]
    missing: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """One line that says it all."""
        if not self.splits:
            found = 'not known: no packed folder is left to compare'
        elif not self.leaks:
            found = (
                f'none: no input of a held-out split lies in another of {len(self.splits)} splits'
            )
        else:
            found = '; '.join(f'{x.count:,} of {x.split} in {x.other}' for x in self.leaks)
        return f'Shared inputs: {found}' + ''.join(f'; {why}' for why in self.missing)


def packed_folders(nodes: Iterable[Node]) -> list[Node]:
    """The outputs of `fsa pack` that results were made from, each once."""
    found: dict[str, Node] = {}
    for node in nodes:
        if node.stage == 'pack':
            found.setdefault(str(node.folder), node)
        for inner in packed_folders(node.inputs):
            found.setdefault(str(inner.folder), inner)
    return list(found.values())


def leakage(nodes: Iterable[Node]) -> Leakage:
    """Compares every split of all packed folders in a lineage: a corpus with a benchmark too."""
    stores: dict[str, TokenStore] = {}
    missing = []
    for node in packed_folders(nodes):
        packed = PackedFolder(node.folder)
        for task in packed.tasks:
            for split in packed.splits(task):
                store = TokenStore.open(packed.folder / task / split)
                known = stores.setdefault(f'{task}/{split}', store)
                if known.header.vocabulary != next(iter(stores.values())).header.vocabulary:
                    del stores[f'{task}/{split}']
                    missing.append(f'{task}/{split}: {SEVERAL_VOCABULARIES}')
    shared = overlap.shared_inputs(stores.values())
    leaks = [
        Leak(split, other, n) for split, others in shared.items() for other, n in others.items()
    ]
    return Leakage(tuple(stores), tuple(leaks), tuple(missing))

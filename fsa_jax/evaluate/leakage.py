"""Inputs that the data of a report share: between splits, across tasks, between corpus and test."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fsa_jax.data import overlap
from fsa_jax.data.store import PackedFolder, TokenStore
from fsa_jax.evaluate.lineage import Node

SEVERAL_VOCABULARIES = 'packed with different vocabularies, so their inputs were not compared'
SEVERAL_FOLDERS = 'another folder has a split of this name, so its inputs were not compared'


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


def leakage(nodes: Iterable[Node], texts: Mapping[str, Sequence[str]] | None = None) -> Leakage:
    """Compares every split of all packed folders in a lineage: a corpus with a benchmark too.

    `texts` are those of further tests by name, which were not packed.
    """
    stores: dict[str, TokenStore] = {}
    missing = []
    folders = packed_folders(nodes)
    for node in folders:
        packed = PackedFolder(node.folder)
        for task in packed.tasks:
            for split in packed.splits(task):
                store = TokenStore.open(packed.folder / task / split)
                name, first = f'{task}/{split}', next(iter(stores.values()), store)
                if store.header.vocabulary != first.header.vocabulary:
                    missing.append(f'{name}: {SEVERAL_VOCABULARIES}')
                elif not _same(stores.setdefault(name, store), store):
                    missing.append(f'{name} of {node.path}: {SEVERAL_FOLDERS}')
    further = _ids(texts, folders, stores)
    shared = overlap.shared_inputs(stores.values(), further)
    leaks = [
        Leak(split, other, n) for split, others in shared.items() for other, n in others.items()
    ]
    return Leakage((*stores, *further), tuple(leaks), tuple(missing))


def _same(a: TokenStore, b: TokenStore) -> bool:
    return a.header == b.header and np.array_equal(a.tokens, b.tokens)


def _ids(
    texts: Mapping[str, Sequence[str]] | None,
    folders: Sequence[Node],
    stores: Mapping[str, TokenStore],
) -> dict[str, list[list[int]]]:
    """The texts as inputs of the stores, cut where the longest of those is."""
    if not texts or not stores:
        return {}
    words = PackedFolder(folders[0].folder).vocabulary
    limit = max(int(store.lengths[:, 0].max(initial=1)) for store in stores.values())
    return {
        name: [[*ids[: limit - 1], words.eos_id] for ids in words.encode_batch(list(some))]
        for name, some in texts.items()
    }

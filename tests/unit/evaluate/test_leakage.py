"""Inputs that the packed folders of a report share."""

import shutil

from fsa_jax.evaluate.leakage import SEVERAL_FOLDERS, leakage
from fsa_jax.evaluate.lineage import Node
from tests import training


def test_what_a_second_folder_has_under_the_same_name_is_told(tmp_path, tiny_spiece):
    """Its copy is compared as the first is; another split of the name is not, and said to be missing."""
    training.pack(tmp_path / 'a', tiny_spiece, train=8)
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    training.pack(tmp_path / 'c', tiny_spiece, train=9)
    nodes = [Node(name, name, stage='pack', folder=tmp_path / name) for name in 'abc']
    assert leakage(nodes[:2]).missing == ()
    found = leakage(nodes)
    assert found.splits == ('t/train', 't/validation')
    assert found.missing == (f't/train of c: {SEVERAL_FOLDERS}',)

"""Names of slices, and what the chips' table says of itself."""

import pytest

from fsa_jax.errors import UserError
from fsa_jax.plan.topology import CHIPS, CHOSEN, NAMES, parse


@pytest.mark.parametrize(
    ('name', 'topology', 'chips'),
    [
        ('v5e-16', 'v5e:4x4', 16),
        ('v5e:16x16', 'v5e:16x16', 256),
        ('v4-8', 'v4:2x2x1', 4),  # counts TensorCores
        ('v4-32', 'v4:2x2x4', 16),
        ('v5p-128', 'v5p:4x4x4', 64),
        ('V6E-8', 'v6e:2x4', 8),
    ],
)
def test_names(name, topology, chips):
    assert (parse(name).topology, parse(name).chips) == (topology, chips)


@pytest.mark.parametrize('name', NAMES)
def test_every_name_counts_its_cores_and_comes_back(name):
    slices = parse(name)
    assert slices.name == name
    assert slices.chips * slices.chip.cores == int(name.partition('-')[2])


def test_several_slices():
    two = parse('v5e:4x4', 2)
    assert (two.name, two.chips) == ('2 x v5e-16', 32)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('v5e-17', "did you mean 'v5e-1"),
        ('v7-8', "no chip 'v7'"),
        ('v5e:4x4x4', 'v5e has 2 dimensions'),
        ('v5e:4by4', 'or a shape as in v5e:4x4'),
        ('v4:0x2x1', 'no slice'),
    ],
)
def test_unknown_slices(name, message):
    with pytest.raises(UserError, match=message):
        parse(name)


def test_the_chosen_are_names_and_every_chip_has_a_source():
    assert set(CHOSEN) <= set(NAMES)
    assert all(chip.source for chip in CHIPS.values())

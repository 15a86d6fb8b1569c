"""ASQP and ACOS text: sentences, terms with their places, and one clear line for what is broken."""

import pytest

from fsa_jax.configs import TrainData
from fsa_jax.data.label_files import read_label_file
from fsa_jax.errors import UserError
from fsa_jax.records import Aspect

ASQP = """\
the soup was cold but we came back####[['soup', 'food quality', 'negative', 'cold'], ['NULL', 'place general', 'positive', 'NULL']]
nothing said####[]
"""
ACOS = """\
the onion soup was cold\t1,3 FOOD#QUALITY 0 4,5
we came back\t-1,-1 PLACE#GENERAL 2 -1,-1
soup it was\t0,1 FOOD#QUALITY 1 -1,-1
"""


def read(path, text):
    path.write_text(text, 'utf-8-sig')
    return [sentence for _, sentence in read_label_file(path, TrainData(path=str(path)))]


def test_asqp(tmp_path):
    first, second = read(tmp_path / 'asqp.txt', ASQP)
    assert first.sentence == 'the soup was cold but we came back'
    assert first.aspects == (
        Aspect('soup', 'food quality', 'negative', opinion_words='cold'),
        Aspect(None, 'place general', 'positive'),
    )
    assert second.aspects == ()


@pytest.mark.parametrize('name', ['quads.tsv', 'quads.txt'])
def test_acos(tmp_path, name):
    first, second, third = read(tmp_path / name, ACOS)
    assert first.aspects == (
        Aspect('onion soup', 'FOOD#QUALITY', 'negative', 4, 14, opinion_words='cold'),
    )
    assert first.sentence[4:14] == 'onion soup'
    assert second.aspects == (Aspect(None, 'PLACE#GENERAL', 'positive'),)
    assert third.aspects == (Aspect('soup', 'FOOD#QUALITY', 'neutral', 0, 4),)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("a####[['x', 'y', 'positive']]\n", r'f\.txt:1: expected a list of'),
        ("ok####[]\na####[print('x')]\n", r'f\.txt:2: expected a list of'),
        ('ok####[]\nno labels\n', r'f\.txt:2: expected sentence####'),
        ('a b\t0,1 FOOD 0 1,2\na b\t0,1 FOOD 5 1,2\n', r'f\.txt:2: expected .start,end'),
        ('a b\t0,3 FOOD 0 1,2\n', r'f\.txt:1: no words 0,3 in a sentence of 2'),
        ('just text\n', 'cannot tell the form'),
    ],
)
def test_what_is_broken_is_named_by_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path / 'f.txt', text)

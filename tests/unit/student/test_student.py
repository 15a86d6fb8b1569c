"""Student.extract from end to end, with a model of random weights: places, order, flags, folders."""

import subprocess
import sys

import jax
import pytest

import fsa_jax
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.hf import tokenizer
from fsa_jax.hf.export import save_pretrained
from fsa_jax.student import Found
from fsa_jax.student.calibration import FILE, Platt, to_json
from tests import training

SENTENCES = ('the food was great.', 'but the service was slow!', 'the food was great')
REVIEW = f'{SENTENCES[0]} {SENTENCES[1]}  {SENTENCES[2]}'


@pytest.fixture(scope='module')
def folder(tmp_path_factory, tiny_spiece):
    vocabulary = Vocabulary(tiny_spiece)
    folder = tmp_path_factory.mktemp('model') / 'model'
    config, params = training.noise(folder, vocabulary, seed=1, step=7)
    save_pretrained(folder.parent / 'export', config, params)
    tokenizer.write(folder.parent / 'export', vocabulary)
    return folder


@pytest.fixture(scope='module')
def student(folder):
    return fsa_jax.Student.from_pretrained(folder, batch_size=8)


def test_importing_the_package_does_not_import_jax():
    code = "import sys, fsa_jax; assert not {'jax', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, '-c', code], check=True)
    with pytest.raises(AttributeError, match='Studnet'):
        fsa_jax.Studnet  # noqa: B018


def test_spans_are_places_in_the_review(student):
    (one,) = student.extract([REVIEW], constrained=True)
    assert len(one.generated) == 3  # sentences
    assert one.opinions
    for opinion in one.opinions:
        for start, end in opinion.spans:
            assert REVIEW[start:end] == opinion.term
        assert 0.0 <= opinion.confidence <= 1.0
        assert not opinion.calibrated
    assert not {'malformed', 'cut'} & set(one.flags)


def test_order_is_kept_and_a_text_does_not_depend_on_the_others(student):
    texts = ['the pasta was bad', REVIEW, '', 'great service']
    found = student.extract(texts, constrained=True)
    assert [one.text for one in found] == texts
    assert found[2].flags == ('empty',)
    again = student.extract(texts[::-1], constrained=True)[::-1]
    assert [o.generated for o in again] == [o.generated for o in found]
    assert student.extract(texts, constrained=True) == found


def test_what_is_below_min_confidence_is_abstained_from(student):
    (all_of,) = student.extract([REVIEW], constrained=True)
    limit = max(o.confidence for o in all_of.opinions)
    (some,) = student.extract([REVIEW], constrained=True, min_confidence=limit)
    assert {o.confidence for o in some.opinions} == {limit}
    assert len(some.opinions) + len(some.abstained) == len(all_of.opinions)


def test_categories_of_the_inventory_point_at_their_sentences(student, tmp_path):
    names = tmp_path / 'inventory.txt'
    names.write_text('food\nservice\n')
    (one,) = student.extract([REVIEW], 'acsa', constrained=True, categories=[str(names)])
    assert one.opinions
    for opinion in one.opinions:
        assert opinion.category in ('food', 'service')
        for start, end in opinion.spans:
            assert REVIEW[start:end] in SENTENCES


def test_the_same_student_out_of_any_folder(student, folder):
    expected = student.extract([REVIEW], constrained=True)
    for path in (folder / 'checkpoints' / '7', folder.parent / 'export'):
        other = fsa_jax.Student.from_pretrained(path, batch_size=8)
        assert other.extract([REVIEW], constrained=True) == expected
        leaves = jax.tree.leaves(other.params)
        assert all(isinstance(x, jax.Array) for x in leaves), 'sent to the device once'


def test_a_calibration_beside_the_model_is_used(student, folder, tmp_path):
    calibrated = tmp_path / 'calibration'
    calibrated.mkdir()
    (calibrated / FILE).write_text(to_json({'atsa': Platt(0.5, 1.0, 40, 20, 0.3, 0.2)}))
    other = fsa_jax.Student.from_pretrained(folder, calibration_folder=calibrated, batch_size=8)
    raw, scaled = (s.extract([REVIEW], constrained=True)[0].opinions for s in (student, other))
    assert all(o.calibrated for o in scaled)
    assert [o.term for o in raw] == [o.term for o in scaled]
    assert all(a.confidence < b.confidence for a, b in zip(raw, scaled))
    with pytest.raises(UserError, match=r'calibration\.json'):
        fsa_jax.Student.from_pretrained(folder, calibration_folder=tmp_path)


def test_a_long_sentence_is_read_in_parts_and_flagged(folder):
    student = fsa_jax.Student.from_pretrained(folder, batch_size=8, input_length=12)
    text = 'the waiter was very very good and the pasta was great but service was slow'
    (one,) = student.extract([text], constrained=True)
    assert len(one.generated) > 1
    assert 'split' in one.flags


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('a text',), 'a list of texts'),
        ((['a', None],), r'texts\[1\] must be a text; got None'),
        ((['a'], 'atas'), "did you mean 'atsa'"),
        ((['a'], 'analysis'), 'constrained=True'),
        ((['a'], 'acsa'), 'inventory'),
    ],
)
def test_wrong_arguments_are_one_clear_line(student, arguments, message):
    with pytest.raises(UserError, match=message):
        student.extract(*arguments, constrained=True)


def test_found_is_plainly_uncalibrated_by_default():
    assert not Found('positive', 0.5).calibrated

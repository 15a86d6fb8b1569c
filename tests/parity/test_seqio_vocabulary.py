"""Our SeqIO vocabulary against transformers' T5 tokenizer, in Python and in TensorFlow."""

import copy
import json
import pickle
import random

import pytest

seqio = pytest.importorskip('seqio')

import tensorflow as tf  # noqa: E402

from fsa_jax.data.vocabulary import Vocabulary  # noqa: E402
from fsa_jax.errors import UserError  # noqa: E402
from tasks.vocabulary import SeqioVocabulary  # noqa: E402

# No characters on which transformers' normaliser is known to differ from SentencePiece's.
ALPHABET = (
    'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789    .,;:!?\'"|#$%&()-/éüñ€😀漢'
)


def random_texts(count, seed=0):
    rng = random.Random(seed)
    for _ in range(count):
        text = ''.join(rng.choices(ALPHABET, k=rng.randrange(80)))
        for _ in range(rng.randrange(4)):
            position = rng.randrange(len(text) + 1)
            mark = rng.choice(['\n', '\n\n', '[NL]', ' <extra_id_7> '])
            text = text[:position] + mark + text[position:]
        yield text


@pytest.fixture(scope='module')
def ours(shared):
    return SeqioVocabulary(shared / 'data/t5')


@pytest.fixture(scope='module')
def theirs(shared):
    transformers = pytest.importorskip('transformers')
    tokenizer = transformers.T5Tokenizer.from_pretrained(shared / 'data/t5')
    tokenizer.add_tokens(['[NL]'])
    return tokenizer


def encode_with(tokenizer, text):
    return tokenizer(text.replace('\n', '[NL]'), add_special_tokens=False).input_ids


def real_texts(shared):
    with open(shared / 'data/corpus/mixtral_250.json', encoding='utf-8-sig') as file:
        answers = [json.loads(line) for line in file]
    return [a[key] for a in answers for key in ('Text', 'mixtral_response')]


@pytest.mark.data
@pytest.mark.parametrize('kind', ['real', 'random'])
def test_ids_equal_those_of_transformers(shared, ours, theirs, kind):
    texts = real_texts(shared) if kind == 'real' else list(random_texts(1000))
    in_graph = ours.encode_tf(tf.constant(texts)).to_list()
    differ = [
        text
        for text, ids in zip(texts, in_graph, strict=True)
        if not ids == ours.encode(text) == encode_with(theirs, text)
    ]
    assert not differ, differ[:10]


@pytest.mark.data
def test_the_newline_token_and_the_sentinels_have_t5s_ids(ours):
    assert ours.encode('a\nb[NL]c') == [3, 9, 32100, 3, 115, 32100, 3, 75]
    assert ours.encode('<extra_id_0>') == [32099]
    assert (ours.vocab_size, ours.eos_id, ours.pad_id, ours.unk_id, ours.extra_ids) == (
        32101,
        1,
        0,
        2,
        100,
    )
    assert ours.decode([3, 9, 32100, 3, 115, 1, 3, 75]) == ours.vocabulary.decode(
        [3, 9, 32100, 3, 115]
    )


def test_encode_tf_equals_encode_for_every_rank(tiny_spiece):
    ours = SeqioVocabulary(tiny_spiece)
    texts = ['', '\n', 'the food was great', 'a \n\nb [NL]', *random_texts(200, seed=1)]
    rows = [ours.encode(text) for text in texts]
    assert ours.encode_tf(tf.constant(texts)).to_list() == rows
    assert ours.encode_tf(tf.constant([], tf.string)).to_list() == []
    scalars = tf.data.Dataset.from_tensor_slices(texts).map(ours.encode_tf)
    assert [ids.tolist() for ids in scalars.as_numpy_iterator()] == rows
    assert scalars.element_spec == tf.TensorSpec([None], tf.int32)


def test_decode_tf_equals_decode(tiny_spiece):
    ours = SeqioVocabulary(tiny_spiece)
    rows = [[*ours.encode('the food\nwas great'), 1, 7, 7], ours.encode('bad')]
    ids = tf.ragged.constant(rows, tf.int32).to_tensor()
    assert [t.decode() for t in ours.decode_tf(ids).numpy()] == [ours.decode(r) for r in rows]
    assert ours.decode(rows[0]) == ours.vocabulary.decode(rows[0])[: len(ours.decode(rows[0]))]
    assert '[NL]' in ours.decode(rows[0])


def test_equal_vocabularies_are_equal_and_survive_copies(tiny_spiece):
    ours = SeqioVocabulary(tiny_spiece)
    assert ours == SeqioVocabulary(Vocabulary(tiny_spiece))
    assert ours != SeqioVocabulary(Vocabulary(tiny_spiece, newline_token=False))
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert other == ours
        assert other.encode('the food\n') == ours.encode('the food\n')


def test_without_a_model_the_knob_is_named(monkeypatch):
    monkeypatch.delenv('FSA_VOCABULARY', raising=False)
    monkeypatch.delenv('FSA_DATA_DIR', raising=False)
    with pytest.raises(UserError, match=r'VocabularyConfig.path, FSA_VOCABULARY or FSA_DATA_DIR'):
        SeqioVocabulary().encode('x')

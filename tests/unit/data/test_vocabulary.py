"""The vocabulary against hand-worked ids, transformers' T5 tokenizer, and SentencePiece itself."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsa_jax.configs import VocabularyConfig
from fsa_jax.data.vocabulary import Vocabulary, train_vocabulary
from fsa_jax.errors import UserError

# The fast tokenizer takes another of two equally likely segmentations: known, listed.
TIES = re.compile(r'\.{5,}|Hmm')


@pytest.fixture(scope='module')
def t5(shared):
    return Vocabulary(shared / 'data' / 't5')


@pytest.fixture(scope='module')
def released(shared):
    return Vocabulary(shared / 'data' / 't5', nl_space='released')


@pytest.fixture(scope='module')
def transformers_5(shared, tmp_path_factory):
    """transformers' own conversion of spiece.model, with `[NL]` added as the paper's script does."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp('t5')
    shutil.copy(shared / 'data' / 't5' / 'spiece.model', folder)
    (folder / 'config.json').write_text('{"model_type": "t5"}')
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.add_tokens(['[NL]']) == 1
    return tokenizer


@pytest.fixture(scope='module')
def transformers_4(shared):
    """transformers 4.36's conversion of spiece.model (no WhitespaceSplit), in `tokenizers`."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((shared / 'data' / 't5' / 'spiece.model').read_bytes())
    pieces = [(p.piece, p.score) for p in proto.pieces]
    sentinels = [(f'<extra_id_{i}>', 0.0) for i in reversed(range(100))]
    tokenizer = Tokenizer(models.Unigram(pieces + sentinels, unk_id=2))
    charsmap = proto.normalizer_spec.precompiled_charsmap
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap), normalizers.Replace(Regex(' {2,}'), ' ')]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme='always')
    tokenizer.add_tokens([AddedToken('[NL]', normalized=True)])
    return tokenizer


@pytest.fixture(scope='module')
def real_texts(shared):
    lines = (shared / 'data/corpus/mixtral_250.json').read_text(encoding='utf-8-sig').splitlines()
    answers = [json.loads(line) for line in lines]
    texts = [a[field] for a in answers for field in ('Text', 'mixtral_response')]
    for path in sorted((shared / 'data' / 'fsa').glob('*/*/*.json')):
        texts += [s['sentence'] for s in json.loads(path.read_text(encoding='utf-8-sig'))]
    return texts


@pytest.mark.data
def test_golden_ids(t5, released):
    assert (t5.size, t5.newline_id, t5.pad_id, t5.eos_id) == (32101, 32100, 0, 1)
    assert t5.encode('a \nb') == [3, 9, 32100, 3, 115]
    assert released.encode('a \nb') == [3, 9, 3, 32100, 3, 115]
    for vocabulary in (t5, released):
        assert vocabulary.encode('x\n\ny') == [3, 226, 32100, 32100, 3, 63]
        assert vocabulary.encode('x[NL][NL]y') == [3, 226, 32100, 32100, 3, 63]
        assert vocabulary.encode('') == []
        assert vocabulary.encode('\n') == [32100]
    assert t5.encode('<extra_id_0> a </s>') == [32099, 3, 9, 1]
    assert t5.encode('[NL') == [784, 18207]


@pytest.mark.data
def test_real_texts_as_transformers(t5, transformers_5, real_texts):
    differ = []
    for text, ids in zip(real_texts, t5.encode_batch(real_texts)):
        if [*ids, 1] != transformers_5(text.replace('\n', '[NL]')).input_ids:
            differ.append(text)
        assert t5.decode(ids) == transformers_5.decode(ids, skip_special_tokens=True)
    assert all(TIES.search(text) for text in differ)
    assert len(differ) <= 6


WORDS = (
    *(
        'food',
        'Great',
        "n't",
        '1,50',
        '[NL]',
        '\n',
        ' \n',
        '  ',
        '\t',
        '\r\n',
        '\xa0',
        '[NL',
        'NL]',
    ),
    *('<extra_id_0>', '<extra_id_99>', '<extra_id_100>', '</s>', '<pad>', '<unk>', '< /s>', '|'),
    *('é', 'ﬁ', '①', '日本', '😀', '™', '½', '\u200b', ' ;', '$', '(', '"', '…', '&quot;'),
)
words = st.sampled_from(WORDS)
texts = st.one_of(
    st.lists(words).map(''.join),
    st.text(st.characters(exclude_categories=['Cs', 'Cc', 'Cn'])),
)
quick = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.data
@quick
@given(text=texts)
def test_random_texts_as_transformers(t5, transformers_5, text):
    ids = t5.encode(text)
    assert [*ids, 1] == transformers_5(text.replace('\n', '[NL]')).input_ids
    assert t5.decode(ids) == transformers_5.decode(ids, skip_special_tokens=True)


@pytest.mark.data
@quick
@given(text=st.lists(words.filter(lambda w: '<' not in w)).map(''.join))
def test_released_spaces_as_transformers_4(released, transformers_4, text):
    assert released.encode(text) == transformers_4.encode(text.replace('\n', '[NL]')).ids


@pytest.mark.data
@quick
@given(ids=st.lists(st.integers(0, 32127)))
def test_decoding_any_ids_as_transformers(t5, transformers_5, ids):
    assert t5.decode(ids) == transformers_5.decode(ids, skip_special_tokens=True)


def test_each_part_is_encoded_alone(tiny_spiece):
    vocabulary = Vocabulary(tiny_spiece)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tiny_spiece))
    first, second = pieces.encode('the food was great'), pieces.encode('slow service')
    newline = pieces.get_piece_size() + 100
    assert vocabulary.encode('the food was great\nslow service') == [*first, newline, *second]
    assert vocabulary.size == newline + 1
    assert (
        vocabulary.decode([*first, newline, *second, 1, 0]) == 'the food was great[NL] slow service'
    )


@pytest.mark.parametrize('add_eos', [False, True])
def test_ragged_rows_are_the_texts_encoded_one_by_one(tiny_spiece, add_eos):
    vocabulary = Vocabulary(tiny_spiece)
    texts = ['the food was great\nslow service', '', '\n', '<extra_id_0> good </s>', 'bad [NL]']
    end = [1] if add_eos else []
    for some in (texts, texts[1:2], []):
        tokens, row_splits = vocabulary.encode_ragged(some, add_eos=add_eos)
        assert (tokens.dtype, row_splits.dtype) == (np.int32, np.int64)
        assert row_splits[0] == 0
        assert row_splits[-1] == len(tokens)
        rows = [tokens[a:b].tolist() for a, b in itertools.pairwise(row_splits)]
        assert rows == [vocabulary.encode(text) + end for text in some]


def test_without_the_newline_token(tiny_spiece):
    vocabulary = Vocabulary(tiny_spiece, newline_token=False, extra_ids=7)
    assert vocabulary.newline_id is None
    assert vocabulary.size == vocabulary.piece_size + 7
    assert vocabulary.encode('good\nbad') == vocabulary.encode('good bad')
    assert vocabulary.encode('<extra_id_0>') == [vocabulary.size - 1]


@given(batch=st.lists(texts, max_size=5))
@quick
def test_a_batch_is_its_texts(tiny_spiece, batch):
    vocabulary = Vocabulary(tiny_spiece, nl_space='released')
    assert vocabulary.encode_batch(batch) == [vocabulary.encode(text) for text in batch]


def test_a_broken_surrogate_is_a_question_mark(tiny_spiece):
    vocabulary = Vocabulary(tiny_spiece)
    assert vocabulary.encode('good\ud83d\nbad') == vocabulary.encode('good?\nbad')


@pytest.mark.parametrize('options', [{}, {'extra_ids': 3, 'nl_space': 'released'}])
def test_saved_and_loaded(tiny_spiece, tmp_path, options):
    vocabulary = Vocabulary(tiny_spiece, **options)
    vocabulary.save(tmp_path / 'a')
    loaded = Vocabulary.load(tmp_path / 'a')
    text = 'the food \nwas great'
    assert loaded.encode(text) == vocabulary.encode(text)
    assert loaded.sha256 == vocabulary.sha256
    assert (tmp_path / 'a' / 'spiece.model').read_bytes() == tiny_spiece.read_bytes()
    assert Vocabulary(tiny_spiece, newline_token=False).sha256 != vocabulary.sha256


def test_what_is_no_vocabulary(tiny_spiece, tmp_path):
    with pytest.raises(UserError, match=r'VocabularyConfig\.path is empty'):
        Vocabulary.from_config(VocabularyConfig())
    with pytest.raises(UserError, match=r'spiece\.model does not exist'):
        Vocabulary(tmp_path)
    with pytest.raises(UserError, match=r'vocabulary\.json does not exist'):
        Vocabulary.load(tiny_spiece.parent)
    (tmp_path / 'spiece.model').write_bytes(tiny_spiece.read_bytes()[:100])
    with pytest.raises(UserError, match='not a SentencePiece model, or it is damaged'):
        Vocabulary(tmp_path)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(['good food', 'bad food'] * 9),
        model_prefix=str(tmp_path / 'other'),
        vocab_size=20,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    with pytest.raises(UserError, match=r'must be ids 0, 1, 2 as in T5; got \(-1, 2, 0\)'):
        Vocabulary(tmp_path / 'other.model')


def test_training_is_deterministic_and_covers_the_texts(tmp_path):
    lines = [
        f'the {w} was great\nAspect: café {i}' for i, w in enumerate(['soup', 'bar', 'tea'] * 40)
    ]
    first = train_vocabulary(lines, 60, tmp_path / 'a')
    second = train_vocabulary(iter(lines), 60, tmp_path / 'b')
    assert first.model == second.model
    assert 50 <= first.piece_size <= 60
    assert first.newline_id == first.piece_size + 100
    ids = first.encode(lines[0])
    assert first.unk_id not in ids
    assert first.decode(ids) == lines[0].replace('\n', '[NL] ')
    assert Vocabulary.load(tmp_path / 'a').sha256 == first.sha256


def test_texts_that_train_nothing_leave_nothing(tmp_path):
    with pytest.raises(UserError, match='no vocabulary of 60 pieces'):
        train_vocabulary([], 60, tmp_path / 'a')
    assert not (tmp_path / 'a').exists()

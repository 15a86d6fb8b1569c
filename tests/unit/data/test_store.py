"""The token store: what is written is read back, and a damaged one is named."""

import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from fsa_jax import manifest
from fsa_jax.data.store import PackedFolder, TokenBatch, TokenStore, ragged_index
from fsa_jax.data.store_writer import StoreWriter, interleave
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.records import Example

PAIRS = [([5, 6, 7, 1], [8, 1]), ([9, 1], [1]), ([4, 1], [5, 6, 1])]


@pytest.fixture
def vocabulary(tiny_spiece) -> Vocabulary:
    return Vocabulary(tiny_spiece)


def write(folder, vocabulary, pairs=PAIRS, split='train', examples=None, **fields) -> TokenStore:
    with StoreWriter(folder, vocabulary, task='t', split=split, **fields) as writer:
        for i in range(0, len(pairs), 2):  # two batches
            some = examples and examples[i : i + 2]
            ids = [f'id {n}' for n in range(i, min(i + 2, len(pairs)))]
            writer.write(TokenBatch.from_pairs(pairs[i : i + 2], ids, some))
    return TokenStore.open(folder)


def read(store: TokenStore) -> list[tuple[list[int], list[int]]]:
    return [
        (inputs.tolist(), targets.tolist())
        for inputs, targets in map(store.pair, range(len(store)))
    ]


def packed(folder, vocabulary) -> PackedFolder:
    with manifest.output(folder, 'pack', []) as out:
        vocabulary.save(out.folder / 'vocabulary')
        write(out.folder / 't' / 'train', vocabulary)
    return PackedFolder(folder)


def test_round_trip(tmp_path, vocabulary):
    examples = [Example(str(i), f'a line\nand “more” {i}', subsets=('implicit',)) for i in range(3)]
    store = write(tmp_path / 's', vocabulary, examples=examples, metric='acsa', rate=0.5)
    assert read(store) == PAIRS
    np.testing.assert_array_equal(store.lengths, [[4, 2], [2, 1], [2, 3]])
    np.testing.assert_array_equal(store.offsets, [0, 6, 9, 14])
    assert store.tokens.dtype == np.uint16
    assert isinstance(store.tokens, np.memmap)
    assert (store.metric, store.rate, store.header.longest) == ('acsa', 0.5, (4, 3))
    assert list(store.ids()) == ['id 0', 'id 1', 'id 2']
    assert list(store.examples()) == examples
    assert list(store.examples(2)) == examples[2:]
    head = store.head(2)
    assert len(head) == len(head.lengths) == head.header.pairs == 2
    assert list(head.examples(1)) == examples[1:2]


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    vocabulary = SimpleNamespace(size=70_000, eos_id=1, sha256='')
    store = write(tmp_path / 's', vocabulary, [([69_999, 1], [1])])
    assert store.tokens.dtype == np.int32
    assert read(store) == [([69_999, 1], [1])]


def test_ids_of_another_vocabulary_are_refused(tmp_path, vocabulary):
    for number, odd in enumerate((70_000, vocabulary.size)):
        with pytest.raises(UserError, match=f'token ids 1 to {odd} .* to {vocabulary.size - 1}'):
            write(tmp_path / str(number), vocabulary, [([odd, 1], [1])])


def test_cuts_keep_a_final_end_mark_and_add_none(tmp_path, vocabulary):
    pairs = [([5, 6, 7, 1], [8, 9, 7, 5]), ([9, 1], [1])]
    store = write(tmp_path / 's', vocabulary, pairs, limits=(3, 2))
    assert read(store) == [([5, 6, 1], [8, 9]), ([9, 1], [1])]
    assert store.header.cut == (1, 1)


def test_an_empty_split(tmp_path, vocabulary):
    store = write(tmp_path / 's', vocabulary, [], metric='acsa')
    assert len(store) == 0
    assert store.lengths.shape == (0, 2)
    assert list(store.examples()) == []


def test_a_store_without_texts_says_so(tmp_path, vocabulary):
    with pytest.raises(UserError, match='holds no texts'):
        next(write(tmp_path / 's', vocabulary).examples())


@pytest.mark.parametrize('shares', [1, 2, 4])
def test_shares_are_dealt_back_in_turn(tmp_path, vocabulary, shares):
    pairs = [([4 + i % 9] * (i % 5) + [1], [5] * (i % 3) + [1]) for i in range(11)]
    examples = [Example(str(i), 'x') for i in range(11)]
    whole = write(tmp_path / 'whole', vocabulary, pairs, examples=examples)
    for i in range(shares):
        write(tmp_path / str(i), vocabulary, pairs[i::shares], examples=examples[i::shares])
    interleave([tmp_path / str(i) for i in range(shares)], tmp_path / 'joined')
    joined = TokenStore.open(tmp_path / 'joined')
    assert read(joined) == read(whole)
    assert list(joined.examples()) == examples
    assert dataclasses.replace(joined.header) == whole.header


@pytest.mark.parametrize('name', ['tokens.bin', 'offsets.bin', 'lengths.bin'])
def test_a_truncated_file_is_named(tmp_path, vocabulary, name):
    folder = write(tmp_path / 's', vocabulary).folder
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-2])
    with pytest.raises(UserError, match=f'{name} is damaged'):
        TokenStore.open(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f'{name} is missing'):
        TokenStore.open(folder)


def test_a_broken_header_is_named(tmp_path, vocabulary):
    folder = write(tmp_path / 's', vocabulary).folder
    (folder / 'store.json').write_text('{"task": ')
    with pytest.raises(UserError, match=r'store\.json is damaged'):
        TokenStore.open(folder)
    (folder / 'store.json').write_text('{"task": "t", "cut": [0, 0], "longest": [1, 1]}')
    with pytest.raises(UserError, match=r'store\.json is damaged'):
        TokenStore.open(folder)
    with pytest.raises(UserError, match='is not a token store'):
        TokenStore.open(tmp_path)


def test_a_flipped_byte_is_found_by_its_hash(tmp_path, vocabulary):
    folder = packed(tmp_path / 'packed', vocabulary)
    assert read(folder.store('t', 'train')) == PAIRS
    tokens = folder.folder / 't' / 'train' / 'tokens.bin'
    content = bytearray(tokens.read_bytes())
    content[3] ^= 1
    tokens.write_bytes(content)
    with pytest.raises(UserError, match=r'tokens\.bin is damaged'):
        folder.store('t', 'train')


def test_unknown_names_get_the_nearest(tmp_path, vocabulary):
    folder = packed(tmp_path / 'packed', vocabulary)
    with pytest.raises(UserError, match=r"no split 'trian' .*did you mean 'train'"):
        folder.store('t', 'trian')
    with pytest.raises(UserError, match=r"no task 'tt' .*did you mean 't'"):
        folder.store('tt', 'train')
    with pytest.raises(UserError, match=r"has a split 'trian' .*did you mean 'train'.*there are"):
        folder.stores('trian')
    assert list(folder.stores('train')) == ['t']
    with pytest.raises(UserError, match='not a finished output'):
        PackedFolder(tmp_path)


def test_another_vocabulary_is_refused(tmp_path, vocabulary, tiny_spiece):
    folder = packed(tmp_path / 'packed', vocabulary)
    folder.check_vocabulary(vocabulary, 'model')
    with pytest.raises(
        UserError, match=r'packed with another vocabulary .* VocabularyConfig\.path'
    ):
        folder.check_vocabulary(Vocabulary(tiny_spiece, newline_token=False), 'model')
    shutil.rmtree(folder.folder / 'vocabulary')
    Vocabulary(tiny_spiece, newline_token=False).save(folder.folder / 'vocabulary')
    with pytest.raises(UserError, match='another vocabulary'):
        PackedFolder(folder.folder).store('t', 'train')


def test_ragged_index():
    starts, lengths = np.array([4, 0, 9]), np.array([2, 0, 3])
    assert ragged_index(starts, lengths).tolist() == [4, 5, 9, 10, 11]
    assert ragged_index(starts[:0], lengths[:0]).tolist() == []

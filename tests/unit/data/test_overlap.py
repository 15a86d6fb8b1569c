"""Leakage between packed splits: counted over tasks and splits, said where splits differ in kind."""

import json
from itertools import combinations

import pytest

from fsa_jax import manifest, stages
from fsa_jax.configs import PackConfig, TrainData, VocabularyConfig
from fsa_jax.data import benchmark_files, overlap
from fsa_jax.data.store import TokenBatch, TokenStore
from fsa_jax.data.store_writer import StoreWriter
from fsa_jax.data.vocabulary import Vocabulary


def store(folder, spiece, task, split, inputs, metric='', target=(9, 1)) -> TokenStore:
    where = folder / task / split
    with StoreWriter(where, Vocabulary(spiece), task=task, split=split, metric=metric) as writer:
        writer.write(TokenBatch.from_pairs([(ids, list(target)) for ids in inputs]))
    return TokenStore.open(where)


def test_distinct_inputs_are_counted_and_parts_of_a_split_left_out(tmp_path, tiny_spiece):
    splits = {
        ('a', 'train'): [[5, 1], [5, 1], [6, 1], [5, 6, 1]],
        ('a', 'test'): [[6, 1], [5, 1], [5, 1], [7, 1]],
        ('a', 'test_implicit'): [[6, 1]],
        ('b', 'test'): [[7, 1], [8, 1]],
        ('c', 'train'): [[3, 1]],
    }
    stores = [store(tmp_path, tiny_spiece, *name, inputs) for name, inputs in splits.items()]
    shared = overlap.shared_inputs(stores)
    assert shared == {
        'a/test': {'a/train': 2, 'b/test': 1},
        'b/test': {'a/test': 1},
    }
    said = overlap.leaks('a/test', shared['a/test'])
    assert said == 'a/test: inputs that other splits hold too: 2 in a/train'
    assert overlap.leaks('b/test', shared['b/test']) == ''


def test_a_sentence_is_found_inside_the_reviews_of_a_corpus(tmp_path, tiny_spiece):
    """Whole, not in an answer, and not if it is common speech, unless that is the whole review."""
    said = list(range(20, 20 + overlap.HEAD))
    longer, short, answer = [*said, 7], said[:-1], said[::-1]
    review = [3, 4, *said, 5, 6]
    sentences = [[*ids, 1] for ids in (said, longer, short, answer, [3, 4])]
    reviews = [[*review, 1], [*review, 5, 1], [3, 4, 1]]
    splits = [
        store(tmp_path, tiny_spiece, 'corpus', 'train', reviews, target=[*answer, 1]),
        store(tmp_path, tiny_spiece, 'fsa', 'test', sentences, metric='atsa'),
        store(tmp_path, tiny_spiece, 'fsa', 'train', [[*review, 1]], metric='atsa'),
    ]
    assert overlap.shared_inputs(splits[:2]) == {'fsa/test': {'corpus/train': 2}}  # said, and 3 4
    # texts that were not packed; a benchmark's sentences are compared whole
    assert overlap.shared_inputs(splits[::2], {'texts': [[*said, 1], [*review, 1], [9, 1]]}) == {
        'texts': {'corpus/train': 2, 'fsa/train': 1}
    }


def test_an_empty_split_shares_nothing(tmp_path, tiny_spiece):
    stores = [store(tmp_path, tiny_spiece, 'a', split, []) for split in ('train', 'test')]
    assert overlap.shared_inputs(stores) == {}


def test_pack_reports_it(tmp_path, tiny_spiece, capfd):
    for name, lines in (('labels', 'abc'), ('test', 'cd')):
        rows = [json.dumps({'sentence': f'the food {x}', 'aspects': ''}) for x in lines]
        (tmp_path / f'{name}.jsonl').write_text('\n'.join(rows))
    labels = TrainData(
        path=str(tmp_path / 'labels.jsonl'),
        test_path=str(tmp_path / 'test.jsonl'),
        validation_fraction=0.0,
    )
    vocabulary = VocabularyConfig(path=str(tiny_spiece))
    stages.run('pack', (PackConfig(), vocabulary, labels), tmp_path / 'packed')
    counts = manifest.read(tmp_path / 'packed')['counts']
    assert counts['shared_inputs']['user_labels/test'] == {'user_labels/train': 1}
    assert 'user_labels/test: inputs that other splits hold too: 1 in' in capfd.readouterr().err


@pytest.mark.data
def test_the_published_splits_share_as_many_as_their_texts_do(tmp_path, shared):
    data = shared / 'data'
    config = PackConfig(
        tasks=('fsa_acsa_rest16', 'fsa_atsa_rest14'), data_dir=str(data), input_length=0
    )
    vocabulary = VocabularyConfig(path=str(data / 't5'))
    stages.run('pack', (config, vocabulary, TrainData()), tmp_path / 'packed')
    texts = {
        f'fsa_{task}_{name}/{split}': {
            s.sentence for s in benchmark_files.read_split(name, split, data)
        }
        for task, name in (('acsa', 'rest16'), ('atsa', 'rest14'))
        for split in benchmark_files.SPLIT_FILES
    }
    counted = manifest.read(tmp_path / 'packed')['counts']['shared_inputs']
    expected = {pair: len(texts[pair[0]] & texts[pair[1]]) for pair in combinations(texts, 2)}
    assert sum(expected.values()) > 0
    for (one, other), count in expected.items():
        for name, place in ((one, other), (other, one)):
            if not name.endswith('/train'):
                assert counted.get(name, {}).get(place, 0) == count

"""The TFDS builders prepare from local files alone, in file order."""

import json

import numpy as np
import pytest

tfds = pytest.importorskip('tensorflow_datasets')
pytest.importorskip('seqio')

import tasks  # noqa: E402
from fsa_jax.data import benchmark_files  # noqa: E402

ASPECTS = [
    {'from': '103', 'to': '110', 'target': 'b', 'category': 'X#Y', 'polarity': 'positive'},
    {'from': 22, 'to': 25, 'target': 'a', 'category': None, 'polarity': 'negative'},
    {'from': None, 'to': None, 'target': None, 'category': 'Z', 'polarity': 'neutral'},
]
WORDS = ({'opinion_words': 'good'}, {'opinion_words': ['x', 'y']}, {'opinion_words': None})


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Any look at the network fails."""
    import socket

    def refuse(*_args, **_kwargs):
        raise OSError('no network in this test')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    tfds.disable_progress_bar()


def prepare(name, folder):
    builder = tfds.builder(name, data_dir=str(folder))
    builder.download_and_prepare()
    return builder


def read(builder, split):
    return list(tfds.as_numpy(builder.as_dataset(split=split)))


def test_fsa_benchmark(tmp_path, tiny_spiece):
    folder = tmp_path / 'fsa/atsa/rest14'
    folder.mkdir(parents=True)
    aspects = [{**a, **w} for a, w in zip(ASPECTS, WORDS)]
    for name in ('train', 'dev', 'test', 'hard_test'):
        records = [
            {'ID': f'{name}{i}', 'sentence': f'a b {i}', 'aspects': aspects[: i % 4]}
            for i in range(30)
        ]
        (folder / f'{name}.json').write_text(json.dumps(records), encoding='utf-8-sig')
    tasks.register_all(tiny_spiece, data_dir=str(tmp_path))
    builder = prepare('fsa_benchmark/rest14', tmp_path / 'prepared')
    assert set(builder.builder_configs) == set(benchmark_files.DATASETS)
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sizes == {'train': 30, 'validation': 30, 'test': 60}
    test = read(builder, 'test')
    assert [x['id'].decode() for x in test] == [
        f'{name}{i}' for name in ('test', 'hard_test') for i in range(30)
    ]
    three = test[3]
    assert three['targets'].decode() == 'a | negative ; b | positive'
    assert three['aspects']['from'].tolist() == [b'103', b'22', b'']
    assert three['aspects']['category'].tolist() == [b'X#Y', b'', b'Z']
    assert [w.tolist() for w in np.split(*ragged(three['aspects']['opinion_words']))] == [
        [b'good'],
        [b'x', b'y'],
        [],
    ]
    assert [s.decode() for s in three['subsets']] == ['normal', 'implicit', 'multiple']


def ragged(value):
    return value.values, value.row_splits[1:-1]


def test_sentiment_understanding_corpus(tmp_path, tiny_spiece):
    for kind in ('analysis', 'rewrite'):
        path = tmp_path / f'corpus/{kind}/m/computer/computer_20000_s12421_v0_int8.json'
        path.parent.mkdir(parents=True)
        rows = [
            {
                'ID': i,
                'Text': f'review {i} \ud83d',
                'Overall': 2.0,
                'mixtral_response': f'{kind}\n{i}',
            }
            for i in range(20)
        ]
        path.write_text(''.join(json.dumps(row) + '\n' for row in rows), encoding='utf-8-sig')
    tasks.register_all(tiny_spiece, data_dir=str(tmp_path), validation_fraction=0.2)
    builder = prepare('sentiment_understanding_corpus', tmp_path / 'prepared')
    train, validation = read(builder, 'train'), read(builder, 'validation')
    assert len(train) + len(validation) == 40
    assert {x['inputs'] for x in train}.isdisjoint({x['inputs'] for x in validation})
    first = train[0]
    assert builder.info.features['kind'].int2str(first['kind']) == 'analysis'
    assert (first['domain'], first['rating'], first['teacher']) == (b'computer', 2.0, b'mixtral')
    assert first['targets'].startswith(b'analysis\n')


def test_an_output_of_fsa_corpus(tmp_path, tiny_spiece):
    from fsa_jax import stages
    from fsa_jax.configs import CorpusConfig, FilterConfig
    from fsa_jax.records import Generation, write_jsonl

    analysis = 'Opinion Target 1: "pan"\nAspect: size\nSentiment: Positive\nReasoning: It is fine.'
    rows = [
        Generation(f'{i}', kind, f'i think pan {i} is fine.', answer, 'kitchen', 4.0, 'mixtral')
        for i in range(20)
        for kind, answer in (('analysis', analysis), ('rewriting', 'I feel that it is fine.'))
    ]
    write_jsonl(tmp_path / 'answers.jsonl', rows)
    corpus = CorpusConfig(answers=str(tmp_path / 'answers.jsonl'), validation_fraction=0.3)
    stages.run('corpus', (corpus, FilterConfig()), tmp_path / 'corpus')
    tasks.register_all(tiny_spiece, corpus=str(tmp_path / 'corpus'))
    builder = prepare('sentiment_understanding_corpus', tmp_path / 'prepared')
    train, validation = read(builder, 'train'), read(builder, 'validation')
    assert len(train) + len(validation) == 40
    assert 2 <= len(validation) <= 24
    assert {x['inputs'] for x in train}.isdisjoint({x['inputs'] for x in validation})
    assert {x['targets'] for x in train} == {analysis.encode(), b'I feel that it is fine.'}
    assert (train[0]['domain'], train[0]['teacher']) == (b'kitchen', b'mixtral')


@pytest.mark.data
def test_the_real_benchmark(shared, tmp_path, monkeypatch):
    monkeypatch.setenv('FSA_DATA_DIR', str(shared / 'data'))
    from tasks.tfds_builders import FsaBenchmark

    monkeypatch.setattr(FsaBenchmark, 'source', '')
    builder = prepare('fsa_benchmark/rest16', tmp_path)
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sizes == {'train': 1600, 'validation': 400, 'test': 1016}
    golds = [x['targets'].decode() for x in read(builder, 'test')]
    assert sum(len(g.split(' ; ')) for g in golds if g) == 1255

"""The stage `pack` on a source of our own: what is written, cut, counted, and by how many processes."""

import functools
import json
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from fsa_jax import manifest, stages
from fsa_jax.configs import PackConfig, RowsConfig, TrainData, VocabularyConfig
from fsa_jax.data.pack import Job, pack
from fsa_jax.data.rows import Rows
from fsa_jax.data.store import PackedFolder, TokenBatch
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.records import Example


def tokens_of(i: int) -> tuple[list[int], list[int]]:
    """Pair i: two lengths that vary, ids that tell the pair, `</s>` last."""
    return [2 + i % 90] * (1 + i % 7) + [1], [3 + i % 80] * (i % 13) + [1]


@dataclass
class Numbers:
    """`size` pairs in batches of 64, as a TaskSource."""

    size: int
    metric: str = ''
    name: str = 'numbers'
    rate: float = 2.0
    splits: tuple[str, ...] = ('train', 'validation')
    fails_at: int = -1
    random: bool = True

    def is_random(self, split):
        return self.random

    def batches(self, split, *, seed, shard=0, num_shards=1, epochs=1):
        size = self.size if split == 'train' else 5
        epochs = epochs if self.random else 1
        places = range(shard, size * epochs, num_shards)
        for first in range(0, len(places), 64):
            chosen = [(place // size + seed, place % size) for place in places[first : first + 64]]
            if self.fails_at in [i for _, i in chosen]:
                raise UserError(f'reviews.jsonl:{self.fails_at}: not a review')
            ids = [f'{epoch}-{i}' for epoch, i in chosen]
            examples = [Example(id, f'text {id}', task=self.name) for id in ids]
            pairs = [tokens_of(i) for _, i in chosen]
            yield TokenBatch.from_pairs(pairs, ids, examples if self.metric else None)


def sources(**fields) -> list[Numbers]:
    return [Numbers(**fields)]


DEFAULTS = PackConfig()


def run(folder, tiny_spiece, config=DEFAULTS, **fields) -> PackedFolder:
    vocabulary = VocabularyConfig(path=str(tiny_spiece))
    with manifest.output(folder, 'pack', [config]) as out:
        Vocabulary.from_config(vocabulary).save(out.folder / 'vocabulary')
        pack(out, Job(config, vocabulary, functools.partial(sources, **fields)))
    return PackedFolder(folder)


def test_the_pairs_of_a_source_are_stored_in_order(tmp_path, tiny_spiece):
    packed = run(tmp_path / 'packed', tiny_spiece, size=300, metric='atsa')
    assert packed.tasks == ['numbers']
    assert packed.splits('numbers') == ['train', 'validation']
    assert packed.rates == {'numbers': 2.0}
    store = packed.store('numbers', 'train')
    assert (len(store), store.metric, store.task) == (300, 'atsa', 'numbers')
    for i in range(300):
        inputs, targets = store.pair(i)
        assert (inputs.tolist(), targets.tolist()) == tokens_of(i)
    assert list(store.ids(298)) == ['0-298', '0-299']
    assert [e.inputs for e in store.examples(298)] == ['text 0-298', 'text 0-299']


def test_truncation_is_counted_and_said_and_keeps_the_end_mark(tmp_path, tiny_spiece, capfd):
    config = PackConfig(input_length=5, target_length=10)
    packed = run(tmp_path / 'packed', tiny_spiece, config, size=300)
    store = packed.store('numbers', 'train')
    lengths = np.array([[len(side) for side in tokens_of(i)] for i in range(300)])
    cut = (lengths > [5, 10]).sum(axis=0).tolist()
    assert cut[0] > 0
    assert cut[1] > 0
    np.testing.assert_array_equal(store.lengths, np.minimum(lengths, [5, 10]))
    assert all(side[-1] == 1 for i in range(300) for side in store.pair(i))
    counts = json.loads((packed.folder / 'manifest.json').read_text())['counts']
    assert counts['tasks']['numbers']['train']['cut'] == {'inputs': cut[0], 'targets': cut[1]}
    said = capfd.readouterr().err
    assert f'{cut[0]} inputs' in said
    assert 'PackConfig.input_length' in said
    assert f'{cut[1]} targets' in said


@pytest.mark.parametrize('epochs', [1, 2])
def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path, tiny_spiece, epochs):
    config = PackConfig(input_length=6, materialised_epochs=epochs)
    fields = {'size': 10_001, 'metric': 'acsa'}
    alone = run(tmp_path / 'alone', tiny_spiece, config, **fields)
    three = run(tmp_path / 'three', tiny_spiece, config.replace(processes=3), **fields)
    files = [manifest.read(packed.folder)['files'] for packed in (alone, three)]
    assert files[0] == files[1]
    assert len(alone.store('numbers', 'train')) == 10_001 * epochs
    assert not list(three.folder.glob('.*'))


@pytest.mark.parametrize(('random', 'passes'), [(True, 3), (False, 0)])
def test_random_passes_that_are_frozen_are_known_to_a_reader(tmp_path, tiny_spiece, random, passes):
    config = PackConfig(materialised_epochs=3)
    packed = run(tmp_path / 'packed', tiny_spiece, config, size=20, random=random)
    store = packed.store('numbers', 'train')
    assert store.header.frozen_passes == passes
    assert len(store) == 20 * max(passes, 1)
    rows = Rows({'numbers': store}, RowsConfig(layout='pairs', batch_size=10))
    assert rows.repeats(rows.steps_per_epoch()) == []
    said = rows.repeats(2 * rows.steps_per_epoch())
    assert [line.startswith('numbers: ') and 'read 2.0 times' in line for line in said] == (
        [True] if random else []
    )


def test_a_bad_record_stops_all_processes_with_its_own_message(tmp_path, tiny_spiece):
    with pytest.raises(UserError, match=r'reviews.jsonl:77: not a review'):
        run(tmp_path / 'packed', tiny_spiece, PackConfig(processes=2), size=10_000, fails_at=77)
    assert not (tmp_path / 'packed').exists()


def test_memory_does_not_grow_with_the_corpus(tmp_path, tiny_spiece):
    peaks = []
    for size in (4_000, 40_000):
        tracemalloc.start()
        run(tmp_path / str(size), tiny_spiece, size=size)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    tokens = PackedFolder(tmp_path / '40000').store('numbers', 'train').header.tokens
    assert peaks[1] - peaks[0] < 0.1 * 2 * tokens


def test_a_task_cannot_take_the_folder_of_the_vocabulary(tmp_path, tiny_spiece):
    with pytest.raises(UserError, match="cannot be named 'vocabulary'"):
        run(tmp_path / 'packed', tiny_spiece, size=3, name='vocabulary')


@pytest.mark.parametrize('path', ['', '/no/where'])
def test_the_stage_needs_a_vocabulary(tmp_path, path):
    vocabulary = VocabularyConfig(path=path)
    with pytest.raises(UserError, match=r'VocabularyConfig\.path'):
        stages.run('pack', (PackConfig(), vocabulary, TrainData()), tmp_path / 'packed')
    assert not (tmp_path / 'packed').exists()


def test_a_data_root_of_the_environment_is_recorded(tmp_path, tiny_spiece, monkeypatch):
    """config.gin repeats the run where FSA_DATA_DIR is another; labels alone read no root."""
    text = '{"Text": "the food was great", "output_text": "food is great"}\n'
    for name in ('here', 'there'):
        (tmp_path / name / 'corpus').mkdir(parents=True)
        (tmp_path / name / 'corpus' / 'answers.json').write_text(text)
    monkeypatch.setenv('FSA_DATA_DIR', str(tmp_path / 'here'))
    config = PackConfig(tasks=('sentiment_rewriting_corpus',), corpus_validation_fraction=0.0)
    vocabulary = VocabularyConfig(path=str(tiny_spiece))
    stages.run('pack', (config, vocabulary, TrainData()), tmp_path / 'packed')
    root = manifest.read(tmp_path / 'packed')['inputs']['PackConfig.data_dir']
    assert root == {
        'path': str(tmp_path / 'here'),
        'sha256': manifest.digest(tmp_path / 'here'),
    }
    again = (tmp_path / 'packed' / 'config.gin').read_text()
    assert f"PackConfig.data_dir = '{tmp_path / 'here'}'" in again
    monkeypatch.setenv('FSA_DATA_DIR', str(tmp_path / 'there'))
    other = PackConfig(tasks=config.tasks, corpus_validation_fraction=0.0)
    with pytest.raises(UserError, match=r'PackConfig\.data_dir'):
        stages.run('pack', (other, vocabulary, TrainData()), tmp_path / 'packed')
    assert PackConfig().data_dir == ''

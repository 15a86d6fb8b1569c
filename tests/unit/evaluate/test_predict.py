"""The predict stage: order, flags, tasks of a packed folder, and resuming after kill -9."""

import json
import tracemalloc

import pytest

from fsa_jax import manifest, stages
from fsa_jax.configs import DecodeConfig, MeshConfig, PredictConfig, T5Config, to_gin
from fsa_jax.data.store import TokenBatch
from fsa_jax.data.store_writer import StoreWriter
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.decode import Generator
from fsa_jax.errors import UserError
from fsa_jax.evaluate import predict
from fsa_jax.evaluate.prediction_file import PredictionFile
from fsa_jax.records import Example, Prediction, read_jsonl
from fsa_jax.train.checkpoint import write_header
from tests import training
from tests.processes import kill_when

MESH = MeshConfig(data=1)


@pytest.fixture(scope='module')
def vocabulary(tiny_spiece) -> Vocabulary:
    return Vocabulary(tiny_spiece)


@pytest.fixture(scope='module')
def model(tmp_path_factory, vocabulary):
    """A model folder with random weights: its texts are noise, but each input has its own."""
    folder = tmp_path_factory.mktemp('model') / 'model'
    training.noise(folder, vocabulary)
    return folder


def run(output, config, decode=None):
    stages.run('predict', (config, decode or DecodeConfig(max_new_tokens=6), MESH), output)
    return list(read_jsonl(Prediction, output / 'predictions.jsonl'))


def write_reviews(path, count):
    words = ['the', 'food', 'was', 'great', 'but', 'service', 'slow', 'screen', 'battery', 'life']
    with open(path, 'w') as file:
        for i in range(count):
            text = ' '.join(words[(i * k) % len(words)] for k in range(1, 2 + i % 9))
            file.write(json.dumps({'text': text if i % 10 else '', 'n': i}) + '\n')
    return path


def test_every_row_is_written_in_order_and_flagged(tmp_path, model):
    lines = ['great food', '', 'slow service ' * 40, '  ', 'bad pasta']
    (tmp_path / 'in.txt').write_text('\n'.join(lines) + '\n')
    config = PredictConfig(
        model=str(model), input=str(tmp_path / 'in.txt'), input_length=20, chunk=2, task='mine'
    )
    rows = run(tmp_path / 'out', config)
    assert [r.sentence for r in rows] == lines
    assert [r.id for r in rows] == ['1', '2', '3', '4', '5']
    assert [r.flags for r in rows] == [(), ('empty',), ('truncated',), ('empty',), ()]
    assert [bool(r.prediction) for r in rows] == [True, False, True, False, True]
    assert {r.task for r in rows} == {'mine'}
    done = manifest.read(tmp_path / 'out')
    assert done['counts'].pop('seconds') > 0
    assert done['counts'] == {'rows': 5, 'empty': 2, 'truncated': 1}
    assert set(done['files']) == {'predictions.jsonl'}
    assert done['machine']['devices'] == {'cpu': 1}
    assert set(done['inputs']) == {'PredictConfig.input', 'PredictConfig.model'}


def test_predictions_are_those_of_the_generator(tmp_path, model, vocabulary):
    folder = predict.open_model(model)
    texts = ['great food', 'the waiter was very slow']
    (tmp_path / 'in.txt').write_text('\n'.join(texts))
    rows = run(tmp_path / 'out', PredictConfig(model=str(model), input=str(tmp_path / 'in.txt')))
    ids = [[*vocabulary.encode(t), 1] for t in texts]
    expected = Generator(folder.config, DecodeConfig(max_new_tokens=6)).generate(
        folder.load_params(), ids
    )
    assert [r.prediction for r in rows] == [vocabulary.decode(i) for i in expected]


def test_sampled_text_depends_on_its_row_alone(tmp_path, model):
    path = write_reviews(tmp_path / 'in.jsonl', 25)
    texts = {
        chunk: [
            r.prediction
            for r in run(
                tmp_path / f'out{chunk}',
                PredictConfig(model=str(model), input=str(path), chunk=chunk),
                DecodeConfig(method='sample', max_new_tokens=6, batch_size=size),
            )
        ]
        for chunk, size in ((7, 4), (25, 8))
    }
    assert texts[7] == texts[25]
    assert len(set(texts[7])) > 10


@pytest.fixture
def packed(tmp_path, vocabulary):
    """A packed folder of two tasks, one without a metric."""
    folder = tmp_path / 'packed'
    names = {'fsa_a': ('acsa', ['good food', 'slow waiter', 'the pasta']), 'corpus': ('', ['a b'])}
    with manifest.output(folder, 'pack', ()) as out:
        vocabulary.save(out.folder / 'vocabulary')
        for task, (metric, texts) in names.items():
            pairs = [([*vocabulary.encode(t), 1], [*vocabulary.encode('good'), 1]) for t in texts]
            examples = [
                Example(f'id {i}', t, 'good', task, metric, t, 'gold', ('implicit',))
                for i, t in enumerate(texts)
            ]
            store = StoreWriter(
                out.folder / task / 'test', vocabulary, task=task, split='test', metric=metric
            )
            with store:
                store.write(TokenBatch.from_pairs(pairs, [e.id for e in examples], examples))
    return folder


@pytest.fixture
def limits(monkeypatch):
    """Replaces decoding by an echo; the result fills with max_new_tokens by number of rows."""
    seen = {}

    class Echo(Generator):
        def generate(self, params, inputs, max_new_tokens=None, rows=None, automata=None):
            seen[len(inputs)] = max_new_tokens
            return [list(ids[:6]) for ids in inputs]

    monkeypatch.setattr(predict, 'Generator', Echo)
    return seen


def test_a_task_split_keeps_what_scoring_needs(tmp_path, model, packed, limits):
    config = PredictConfig(model=str(model), data=str(packed), tasks=('fsa_a', 'corpus'))
    decode = DecodeConfig(max_new_tokens=6, task_max_new_tokens={'corpus': 2})
    rows = run(tmp_path / 'out', config, decode)
    assert [(r.task, r.id) for r in rows[:3]] == [('fsa_a', f'id {i}') for i in range(3)]
    assert [(r.sentence, r.gold, r.subsets, r.metric) for r in rows[:3]] == [
        (t, 'gold', ('implicit',), 'acsa') for t in ('good food', 'slow waiter', 'the pasta')
    ]
    last = rows[3]  # of a task without a metric: its text comes from its ids
    assert (last.task, last.sentence, last.gold, last.metric) == ('corpus', 'a b', 'good', '')
    assert limits == {3: 6, 1: 2}
    everything = run(tmp_path / 'all', config.replace(tasks=()), decode)
    assert sorted(everything, key=lambda r: r.task) == [rows[3], *rows[:3]]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data': ''}, 'PredictConfig.data .* or PredictConfig.input .* exactly one'),
        ({'input': 'x.txt'}, 'exactly one'),
        ({'model': ''}, 'PredictConfig.model is empty'),
        ({'data': 'nowhere'}, "'nowhere', which does not exist"),
        ({'tasks': ('fsa_b',)}, r"'fsa_b'.*\(did you mean 'fsa_a'\?\)"),
        ({'split': 'tset'}, 'tset'),
        ({'tasks': ('fsa_a',), 'split': 'tset'}, r"\(did you mean 'test'\?\)"),
    ],
)
def test_wrong_names_are_one_clear_line(tmp_path, model, packed, changes, message):
    config = PredictConfig(model=str(model), data=str(packed)).replace(**changes)
    with pytest.raises(UserError, match=message) as error:
        run(tmp_path / 'out', config)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()


def test_an_unknown_task_limit_is_refused(tmp_path, model, packed):
    decode = DecodeConfig(task_max_new_tokens={'fsa_b': 3})
    with pytest.raises(UserError, match=r"did you mean 'fsa_a'"):
        run(tmp_path / 'out', PredictConfig(model=str(model), data=str(packed)), decode)


def test_data_of_another_vocabulary_is_refused(tmp_path, tiny_spiece, packed):
    other = Vocabulary(tiny_spiece, newline_token=False)
    write_header(tmp_path / 'm', T5Config(vocab_size=other.size), other)
    with pytest.raises(UserError, match='another vocabulary'):
        run(tmp_path / 'out', PredictConfig(model=str(tmp_path / 'm'), data=str(packed)))


# ---------------------------------------------------------------------------------------------
# Resuming


def test_killed_and_resumed_is_the_unbroken_run_to_the_byte(tmp_path, model, monkeypatch):
    path = write_reviews(tmp_path / 'in.jsonl', 1500)
    config = PredictConfig(model=str(model), input=str(path), chunk=16)
    decode = DecodeConfig(method='sample', max_new_tokens=6, batch_size=16)
    (tmp_path / 'run.gin').write_text(to_gin((config, decode, MESH)))
    mark = tmp_path / 'broken' / '.predictions.mark.json'
    kill_when(
        lambda: mark.exists() and rows_of(mark) >= 48,
        *('predict', f'--gin_file={tmp_path}/run.gin', f'--output={tmp_path}/broken'),
    )
    done = rows_of(mark)
    assert 48 <= done < 1500
    with open(tmp_path / 'broken' / 'predictions.jsonl', 'a') as file:
        file.write('{"id": "half a chu')
    chunks = []
    original = PredictionFile.write

    def count(self, predictions):
        chunks.append(len(predictions))
        original(self, predictions)

    monkeypatch.setattr(PredictionFile, 'write', count)
    resumed = run(tmp_path / 'broken', config, decode)
    monkeypatch.undo()
    assert sum(chunks) == 1500 - done  # nothing is decoded twice
    run(tmp_path / 'unbroken', config, decode)
    whole = (tmp_path / 'unbroken' / 'predictions.jsonl').read_bytes()
    assert (tmp_path / 'broken' / 'predictions.jsonl').read_bytes() == whole
    assert len(resumed) == 1500
    counts = [manifest.read(tmp_path / name)['counts'] for name in ('broken', 'unbroken')]
    assert all(told.pop('seconds') > 0 for told in counts)
    assert counts[0] == counts[1] == {'rows': 1500, 'empty': 150}


def rows_of(mark) -> int:
    return json.loads(mark.read_text())['rows']


def test_another_input_is_not_appended(tmp_path, model, monkeypatch):
    path = write_reviews(tmp_path / 'in.jsonl', 40)
    config = PredictConfig(model=str(model), input=str(path), chunk=8)
    original = PredictionFile.write

    def fail_at_16(self, predictions):
        if self.rows >= 16:
            raise KeyboardInterrupt
        original(self, predictions)

    monkeypatch.setattr(PredictionFile, 'write', fail_at_16)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / 'out', config)
    monkeypatch.undo()
    write_reviews(path, 41)
    with pytest.raises(UserError, match=r'begun from another PredictConfig\.input'):
        run(tmp_path / 'out', config)
    write_reviews(path, 40)
    assert len(run(tmp_path / 'out', config)) == 40


def test_memory_does_not_grow_with_the_rows(tmp_path, model, limits):
    def peak(count):
        path = write_reviews(tmp_path / f'{count}.jsonl', count)
        config = PredictConfig(model=str(model), input=str(path), chunk=256)
        tracemalloc.start()
        stages.run('predict', (config, DecodeConfig(), MESH), tmp_path / f'out{count}')
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(64)  # imports and caches
    assert peak(4000) < 1.3 * peak(500)

"""What `fsa pack` reads of SeqIO tasks, against SeqIO's own pipelines, mixtures and Evaluator."""

import json
import random

import numpy as np
import pytest

seqio = pytest.importorskip('seqio')

import tensorflow as tf  # noqa: E402

import tasks  # noqa: E402
from fsa_jax.configs import PackConfig, TrainData  # noqa: E402
from fsa_jax.data import seqio_bridge  # noqa: E402
from fsa_jax.data.store import TokenBatch  # noqa: E402
from fsa_jax.data.vocabulary import Vocabulary  # noqa: E402
from fsa_jax.errors import UserError  # noqa: E402
from fsa_jax.evaluate import f1  # noqa: E402
from tasks.vocabulary import SeqioVocabulary  # noqa: E402

BENCHMARK = ('fsa_acsa_rest16', 'fsa_acsa_laptop16', 'fsa_atsa_rest14', 'fsa_atsa_laptop14')
SPLITS = ('train', 'validation', 'test', 'test_implicit', 'test_multiple', 'test_explicit')
POLARITIES = ('positive', 'neutral', 'negative', 'conflict')
WORDS = [
    'the',
    'food',
    'was',
    'great',
    'but',
    'service',
    'slow',
    'screen',
    'battery',
    'life',
    'is',
    'very',
    'good',
    'bad',
    'waiter',
]


@pytest.fixture(scope='module')
def vocabulary(tiny_spiece) -> Vocabulary:
    return Vocabulary(tiny_spiece)


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A root with one tiny ACSA and one tiny ATSA dataset in the published form, and a corpus."""
    root, rng = tmp_path_factory.mktemp('world'), random.Random(0)

    def sentence(i):
        words = rng.choices(WORDS, k=8)
        aspects = []
        for position in rng.sample(range(8), rng.randrange(4)):
            start = len(' '.join(words[:position])) + bool(position)
            aspects.append(
                {
                    'from': str(start),
                    'to': str(start + len(words[position])),
                    'target': words[position],
                    'category': f'{words[position].upper()}#GENERAL',
                    'polarity': rng.choice(POLARITIES),
                    'opinion_words': rng.choice([[], ['good'], 'bad', None]),
                }
            )
        return {'ID': str(i), 'sentence': ' '.join(words), 'aspects': aspects}

    for folder in ('acsa/rest16', 'atsa/rest14'):
        for name, size in (('train', 60), ('dev', 20), ('test', 40), ('hard_test', 20)):
            path = root / 'fsa' / folder / f'{name}.json'
            path.parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps([sentence(i) for i in range(size)])
            path.write_text(content, encoding='utf-8-sig')
    (root / 'corpus').mkdir()
    for name, size in (('train', 50), ('validation', 7)):
        rows = [
            {
                'id': f'{i}',
                'kind': ('analysis', 'rewriting')[i % 2],
                'input': ' '.join(rng.choices(WORDS, k=9)),
                'output': 'the food\n\nwas ' + ' '.join(rng.choices(WORDS, k=i % 5)),
            }
            for i in range(size)
        ]
        text = ''.join(json.dumps(row) + '\n' for row in rows)
        (root / 'corpus' / f'{name}.jsonl').write_text(text)
    return root


def resolve(vocabulary, labels=None, **knobs):
    return seqio_bridge.resolve(PackConfig(**knobs), vocabulary, labels or TrainData())


def pairs(batches) -> list[tuple[list[int], list[int]]]:
    found = []
    for batch in batches:
        assert isinstance(batch, TokenBatch)
        assert batch.input_tokens.dtype == batch.target_tokens.dtype == np.int32
        inputs = np.split(batch.input_tokens, batch.input_row_splits[1:-1])
        targets = np.split(batch.target_tokens, batch.target_row_splits[1:-1])
        found += [(a.tolist(), b.tolist()) for a, b in zip(inputs, targets, strict=True)]
    return found


def pairs_of_seqio(task, split, seed=None) -> list[tuple[list[int], list[int]]]:
    dataset = task.get_dataset(None, split, shuffle=False, seed=seed)
    return [(x['inputs'].tolist(), x['targets'].tolist()) for x in dataset.as_numpy_iterator()]


# ---------------------------------------------------------------------------------------------
# The tasks


def test_all_names_and_splits_are_registered(vocabulary, world):
    tasks.register_all(vocabulary, data_dir=str(world))
    for name in BENCHMARK:
        assert tuple(seqio.TaskRegistry.get(name).splits) == SPLITS
    mixture = seqio.get_mixture_or_task('sentiment_understanding')
    names = ['sentiment_analysis_corpus', 'sentiment_rewriting_corpus']
    assert [task.name for task in mixture.tasks] == names
    assert seqio.TaskRegistry.get('fsa_acsa_rest16').num_input_examples('test') == 60
    tasks.register_all()  # without arguments: leaves the roots as they are
    assert seqio.TaskRegistry.get('fsa_acsa_rest16').num_input_examples('train') == 60


@pytest.mark.parametrize('arguments', [{'target_order': 'numeric'}, {'validation_fraction': 0.5}])
def test_any_argument_registers_anew(vocabulary, world, arguments):
    def first():
        return seqio.TaskRegistry.get('fsa_atsa_rest14')

    tasks.register_all(vocabulary, data_dir=str(world))
    before = first()
    tasks.register_all()
    assert first() is before
    tasks.register_all(**arguments)
    assert first() is not before


def test_nothing_is_registered_at_import():
    import subprocess
    import sys

    code = 'import sys, tasks; print("seqio" in sys.modules, "tensorflow" in sys.modules)'
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ['False', 'False']


def test_our_tasks_pack_to_what_seqio_reads(vocabulary, world):
    names = ('fsa_acsa_rest16', 'fsa_atsa_rest14', 'sentiment_understanding')
    sources = resolve(vocabulary, tasks=names, data_dir=str(world))
    assert [s.name for s in sources] == [
        'fsa_acsa_rest16',
        'fsa_atsa_rest14',
        'sentiment_analysis_corpus',
        'sentiment_rewriting_corpus',
    ]
    for source in sources:
        for split in source.splits:
            expected = pairs_of_seqio(source.task, split)
            assert pairs(source.batches(split, seed=0)) == expected
            assert all(a[-1] == b[-1] == vocabulary.eos_id for a, b in expected)
    targets = pairs(sources[2].batches('train', seed=0))[0][1]
    assert targets.count(vocabulary.newline_id) == 2


def test_examples_carry_what_scoring_needs(vocabulary, world):
    (source,) = resolve(vocabulary, tasks=('fsa_atsa_rest14',), data_dir=str(world))
    assert source.metric == 'atsa'
    (batch,) = source.batches('test', seed=0)
    raw = json.loads((world / 'fsa/atsa/rest14/test.json').read_text(encoding='utf-8-sig'))
    assert [e.sentence for e in batch.examples][:40] == [r['sentence'] for r in raw]
    assert all(e.gold == e.targets and e.metric == 'atsa' for e in batch.examples)
    implicit = sum('implicit' in e.subsets for e in batch.examples)
    (subset,) = source.batches('test_implicit', seed=0)
    assert len(subset.ids) == implicit > 5


@pytest.mark.parametrize('num_shards', [2, 3])
def test_shards_taken_in_turn_give_the_same_pairs(vocabulary, world, num_shards):
    (source,) = resolve(vocabulary, tasks=('fsa_acsa_rest16',), data_dir=str(world))
    whole = pairs(source.batches('test', seed=0))
    for shard in range(num_shards):
        part = source.batches('test', seed=0, shard=shard, num_shards=num_shards)
        assert pairs(part) == whole[shard::num_shards]


def test_the_numeric_order_of_targets_is_a_knob(vocabulary, world):
    def golds(order):
        knobs = {'tasks': ('fsa_atsa_rest14',), 'data_dir': str(world), 'target_order': order}
        (source,) = resolve(vocabulary, **knobs)
        return [e.gold for e in next(source.batches('train', seed=0)).examples]

    released, numeric = golds('released'), golds('numeric')
    assert released != numeric
    assert [sorted(g.split(' ; ')) for g in released] == [sorted(g.split(' ; ')) for g in numeric]


def test_own_labels_are_a_task(vocabulary, tmp_path):
    path = tmp_path / 'mine.csv'
    path.write_text('sentence,aspects\n' + 'the screen is bad,screen | awful ; the | fine\n' * 4)
    labels = TrainData(path=str(path), validation_fraction=0.0, test_fraction=0.0)
    (source,) = resolve(vocabulary, labels)
    assert (source.name, source.metric, source.splits) == (
        'user_labels',
        'atsa:awful,fine',
        ('train',),
    )
    (batch,) = source.batches('train', seed=0)
    assert batch.examples[0].gold == 'the | fine ; screen | awful'
    assert pairs([batch]) == pairs_of_seqio(source.task, 'train')


# ---------------------------------------------------------------------------------------------
# Scoring


def run_evaluator(name, split, predictions):
    """SeqIO's own Evaluator, with `predictions` as the text that a model generated."""
    feature = seqio.get_mixture_or_task(name).output_features['targets']
    evaluator = seqio.Evaluator(
        name, seqio.EncDecFeatureConverter(pack=False), eval_split=split, use_memory_cache=False
    )

    ids = [[*feature.vocabulary.encode(text), 1] for text in predictions]
    width = max(map(len, ids))

    def predict(dataset):
        return [(i, ids[i] + [0] * (width - len(ids[i]))) for i, _ in enumerate(dataset)]

    metrics, _ = evaluator.evaluate(
        compute_metrics=True, step=0, predict_fn=predict, score_fn=lambda _: []
    )
    return metrics.result()[name]


def noisy(rng, gold):
    """A prediction that is wrong in the ways models are."""
    parts = [p for p in gold.split(' ; ') if p and rng.random() < 0.8]
    parts += rng.choices(
        ['the | positive', 'food | good', 'a | b | negative', 'x'], k=rng.randrange(3)
    )
    return ' ; '.join(parts)


def check_evaluator(vocabulary, name, split, data_dir):
    (source,) = resolve(vocabulary, tasks=(name,), data_dir=str(data_dir))
    examples = [e for batch in source.batches(split, seed=0) for e in batch.examples]
    rng = random.Random(0)
    predictions = [noisy(rng, e.gold) for e in examples]
    found = run_evaluator(name, split, predictions)
    # what a model's ids decode to
    decoded = [vocabulary.decode(vocabulary.encode(p)) for p in predictions]
    golds, sentences = [e.gold for e in examples], [e.sentence for e in examples]
    expected = f1.score(source.metric, decoded, golds, sentences)
    assert 0.05 < expected.f1 < 0.95
    for key in ('precision', 'recall', 'f1', 'strict_precision', 'strict_recall', 'strict_f1'):
        assert found[key] == pytest.approx(getattr(expected, key), abs=1e-12)


@pytest.mark.parametrize('name', ['fsa_acsa_rest16', 'fsa_atsa_rest14'])
def test_seqio_evaluator_gives_the_same_f1(vocabulary, world, name):
    check_evaluator(vocabulary, name, 'test', world)


@pytest.mark.data
@pytest.mark.parametrize('name', ['fsa_acsa_rest16', 'fsa_atsa_rest14'])
def test_seqio_evaluator_gives_the_same_f1_on_real_sentences(shared, name):
    check_evaluator(Vocabulary(shared / 'data/t5'), name, 'test_multiple', shared / 'data')


# ---------------------------------------------------------------------------------------------
# A user's own tasks and mixtures


class LineSource(seqio.FunctionDataSource):
    """Twelve lines of text; the function takes no seed, as a user's often does not."""

    def __init__(self):
        def lines(split, shuffle_files):
            del shuffle_files
            texts = [f'{WORDS[i % 15]} {WORDS[i * 7 % 15]} {split}' for i in range(12)]
            return tf.data.Dataset.from_tensor_slices({'text': texts})

        super().__init__(lines, splits=['train', 'validation'])


@seqio.map_over_dataset
def text_to_pair(x):
    return {'inputs': x['text'], 'targets': tf.strings.upper(x['text'])}


@seqio.map_over_dataset(num_seeds=1)
def drop_first_letters(x, seed):
    count = tf.random.stateless_uniform([], seed, 0, 8, tf.int32)
    return {**x, 'inputs': tf.strings.substr(x['inputs'], count, 99)}


@seqio.map_over_dataset(num_seeds=1)
def rotate(x, seed):
    shift = tf.random.stateless_uniform([], seed, 0, 5, tf.int32)
    return {**x, 'inputs': tf.roll(x['inputs'], shift, 0)}


@seqio.map_over_dataset
def keep_at_most(x, sequence_length):
    return {**x, 'targets': x['targets'][: sequence_length['targets'] // 2]}


@seqio.map_over_dataset
def just_ids(x):
    return {name: tf.ensure_shape(x[name][:3], [3]) for name in ('inputs', 'targets')}


TOKENIZE = [text_to_pair, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos_after_trim]


def add_task(name, vocabulary, preprocessors, features=None, **kwargs):
    features = features or {
        k: seqio.Feature(SeqioVocabulary(vocabulary)) for k in ('inputs', 'targets')
    }
    seqio.TaskRegistry.remove(name)
    seqio.TaskRegistry.add(
        name,
        source=LineSource(),
        preprocessors=preprocessors,
        output_features=features,
        **kwargs,
    )


PIPELINES = {
    'text': TOKENIZE,
    'random_text': [text_to_pair, drop_first_letters, *TOKENIZE[1:]],
    'cached': [text_to_pair, TOKENIZE[1], seqio.CacheDatasetPlaceholder(), TOKENIZE[2]],
    'random_tokens': [text_to_pair, TOKENIZE[1], rotate, seqio.preprocessors.append_eos],
    'no_eos': [text_to_pair, seqio.preprocessors.tokenize],
    'eos_at_once': [text_to_pair, seqio.preprocessors.tokenize_and_append_eos],
    'one_length': [text_to_pair, TOKENIZE[1], just_ids],
    'length': [text_to_pair, TOKENIZE[1], keep_at_most, seqio.preprocessors.append_eos],
}


@pytest.mark.parametrize('name', PIPELINES)
def test_a_task_of_the_users_packs_to_what_seqio_reads(vocabulary, name):
    add_task(f'mine_{name}', vocabulary, PIPELINES[name])
    (source,) = resolve(vocabulary, tasks=(f'mine_{name}',), input_length=64, target_length=8)
    if name == 'length':
        dataset = source.task.get_dataset({'inputs': 64, 'targets': 8}, 'train', shuffle=False)
        dataset = dataset.as_numpy_iterator()
        expected = [(x['inputs'].tolist(), x['targets'].tolist()) for x in dataset]
    elif name.startswith('random'):
        # Task.get_dataset wants a source that takes a seed; this one does not
        dataset = source.task.source.get_dataset('train', shuffle=False)
        dataset = source.task.preprocess_postcache(dataset, None, seed=3).as_numpy_iterator()
        expected = [(x['inputs'].tolist(), x['targets'].tolist()) for x in dataset]
    else:
        expected = pairs_of_seqio(source.task, 'train')
    assert len(expected) == 12
    assert pairs(source.batches('train', seed=3)) == expected
    assert next(source.batches('train', seed=3)).examples is None
    assert next(source.batches('validation', seed=3)).examples is not None


@pytest.mark.parametrize('steps', [TOKENIZE, [*TOKENIZE[:2], rotate, TOKENIZE[2]]])
def test_long_targets_are_left_for_pack_to_cut(vocabulary, steps):
    add_task('mine_text', vocabulary, steps)
    (source,) = resolve(vocabulary, tasks=('mine_text',), input_length=4, target_length=4)
    assert max(len(b) for _, b in pairs(source.batches('train', seed=0))) > 4


@pytest.mark.parametrize('name', ['random_text', 'random_tokens'])
def test_random_preprocessors_draw_anew_in_each_pass_and_alike_in_each_run(vocabulary, name):
    add_task(f'mine_{name}', vocabulary, PIPELINES[name])
    (source,) = resolve(vocabulary, tasks=(f'mine_{name}',))
    assert source.is_random('train')
    whole = pairs(source.batches('train', seed=5, epochs=3))
    assert len(whole) == 36
    assert whole[:12] != whole[12:24] != whole[24:]
    assert pairs(source.batches('train', seed=5, epochs=3)) == whole
    assert pairs(source.batches('train', seed=6)) == whole[12:24]
    part = source.batches('train', seed=5, epochs=3, shard=1, num_shards=5)
    assert pairs(part) == whole[1::5]


def test_a_task_that_is_not_random_has_one_pass(vocabulary):
    add_task('mine_text', vocabulary, TOKENIZE)
    (source,) = resolve(vocabulary, tasks=('mine_text',))
    assert len(pairs(source.batches('train', seed=5, epochs=3))) == 12


def test_rates_of_nested_mixtures_are_those_seqio_samples_with(vocabulary):
    for name in 'abc':
        add_task(f'mix_{name}', vocabulary, TOKENIZE)
    for name in ('mix_inner', 'mix_outer'):
        seqio.MixtureRegistry.remove(name)
    seqio.MixtureRegistry.add('mix_inner', [('mix_a', 1.0), ('mix_b', 3.0)])
    seqio.MixtureRegistry.add(
        'mix_outer', [('mix_inner', 2.0), ('mix_c', lambda task: 4.0), ('mix_a', 0.7)]
    )
    sources = resolve(vocabulary, tasks=('mix_outer',))
    rates = {source.name: source.rate for source in sources}
    assert rates == pytest.approx({'mix_a': 2 * 1 / 4 + 0.7, 'mix_b': 2 * 3 / 4, 'mix_c': 4.0})
    chosen = resolve(vocabulary, tasks=('mix_outer',), rates={'mix_b': 9.0})
    assert {s.name: s.rate for s in chosen}['mix_b'] == 9.0
    with pytest.raises(UserError, match=r"no task 'mix_d'.*did you mean"):
        resolve(vocabulary, tasks=('mix_outer',), rates={'mix_d': 9.0})


def features(vocabulary, *names, feature=seqio.Feature):
    return {name: feature(vocabulary) for name in names}


def test_what_a_store_cannot_hold_is_refused_by_name(vocabulary, tiny_spiece):
    ours = SeqioVocabulary(vocabulary)
    converter = seqio.EncDecFeatureConverter(pack=True)

    @seqio.utils.map_over_dataset
    def to_float(x):
        return {**x, 'inputs': tf.cast(x['inputs'], tf.float32)}

    def convert(dataset, sequence_length):
        return converter(dataset, sequence_length)

    import functools

    apply = functools.partial(
        seqio.preprocessors.apply_feature_converter, feature_converter=converter
    )
    pair = ('inputs', 'targets')
    cases = [
        (TOKENIZE, features(ours, 'targets'), 'decoder-only'),
        (TOKENIZE, features(ours, *pair, 'scores'), 'inputs, scores, targets'),
        (
            TOKENIZE,
            features(seqio.ByteVocabulary(), *pair),
            'ByteVocabulary.*VocabularyConfig.path',
        ),
        (TOKENIZE, features(ours, *pair, feature=lambda v: seqio.Feature(v, rank=2)), 'rank 2'),
        (TOKENIZE, features(ours, *pair, feature=seqio.ContinuousFeature), 'ContinuousFeature'),
        ([*TOKENIZE, apply], features(ours, *pair), 'feature converter EncDecFeatureConverter'),
        (
            [text_to_pair, seqio.CacheDatasetPlaceholder(required=True), *TOKENIZE[1:]],
            features(ours, *pair),
            'offline cache',
        ),
    ]
    for steps, wanted, message in cases:
        add_task('mine_odd', vocabulary, steps, wanted)
        with pytest.raises(UserError, match=f"task 'mine_odd'.*{message}"):
            resolve(vocabulary, tasks=('mine_odd',))
    add_task('mine_odd', vocabulary, PIPELINES['length'])
    with pytest.raises(UserError, match=r"'mine_odd'.*keep_at_most.*PackConfig.target_length"):
        resolve(vocabulary, tasks=('mine_odd',), target_length=0)
    add_task('mine_odd', vocabulary, [*TOKENIZE, to_float])
    (source,) = resolve(vocabulary, tasks=('mine_odd',))
    with pytest.raises(
        UserError, match=r"task 'mine_odd': its preprocessors leave.*float32.*inputs"
    ):
        next(source.batches('train', seed=0))


def test_sentencepiece_tasks_pack_where_the_pieces_are_ours(vocabulary, tiny_spiece, tmp_path):
    theirs = seqio.SentencePieceVocabulary(str(tiny_spiece), extra_ids=100)
    add_task('mine_spiece', vocabulary, TOKENIZE, features(theirs, 'inputs', 'targets'))
    (source,) = resolve(vocabulary, tasks=('mine_spiece',))
    assert pairs(source.batches('train', seed=0)) == pairs_of_seqio(source.task, 'train')
    fewer = Vocabulary(tiny_spiece, extra_ids=10)
    with pytest.raises(UserError, match=r'VocabularyConfig.path \(and extra_ids\)'):
        resolve(fewer, tasks=('mine_spiece',))


def test_a_module_of_the_users_is_imported(vocabulary, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my_own_tasks.py').write_text(
        'import seqio, tasks\n'
        'tasks.register_all()\n'
        "seqio.MixtureRegistry.add('my_mix', [('fsa_acsa_rest16', 2.0), ('fsa_atsa_rest14', 1.0)])\n"
    )
    knobs = {'tasks': ('my_mix',), 'data_dir': str(world)}
    sources = resolve(vocabulary, module='my_own_tasks', **knobs)
    assert {s.name: s.rate for s in sources} == {'fsa_acsa_rest16': 2.0, 'fsa_atsa_rest14': 1.0}
    assert len(pairs(sources[0].batches('train', seed=0))) == 60
    with pytest.raises(UserError, match=r"PackConfig.module='my_other_tasks': no such module"):
        resolve(vocabulary, module='my_other_tasks', **knobs)


def test_a_failing_preprocessor_is_one_line_with_the_name_of_the_task(vocabulary):
    def broken(dataset):
        return dataset.map(lambda x: {**x, 'inputs': x['imputs']})

    def broken_late(dataset):
        return dataset.map(lambda x: tf.debugging.assert_equal(0, 1) or x)

    for step, message in ((broken, 'KeyError.*imputs'), (broken_late, 'InvalidArgument|assert')):
        add_task('mine_broken', vocabulary, [text_to_pair, step, *TOKENIZE[1:]])
        (source,) = resolve(vocabulary, tasks=('mine_broken',))
        with pytest.raises(
            UserError, match=f"task 'mine_broken', split 'train': .*({message})"
        ) as e:
            list(source.batches('train', seed=0))
        assert '\n' not in str(e.value)


def test_unknown_names_say_the_nearest(vocabulary, world):
    with pytest.raises(UserError, match=r"no task or mixture 'fsa_acsa_rest'.*'fsa_acsa_rest16'\?"):
        resolve(vocabulary, tasks=('fsa_acsa_rest',))
    with pytest.raises(UserError, match=r"no task has a split 'tset' \(did you mean 'test'\?"):
        resolve(vocabulary, tasks=('fsa_acsa_rest16',), splits=('tset',), data_dir=str(world))
    with pytest.raises(UserError, match=r'PackConfig.tasks is empty'):
        resolve(vocabulary)


def test_a_broken_record_keeps_its_file_and_line_through_tf_data(vocabulary, tmp_path):
    path = tmp_path / 'fsa/acsa/rest16/train.json'
    path.parent.mkdir(parents=True)
    path.write_text('[\n{"ID": "1", "sentence": "x", "aspects": []},\n{"ID": "2"}]')
    tasks.register_all(vocabulary, data_dir=str(tmp_path))
    ours = seqio.TaskRegistry.get('fsa_acsa_rest16')

    @seqio.map_over_dataset
    def shout(x):
        return {**x, 'inputs': tf.strings.upper(x['inputs'])}

    seqio.TaskRegistry.remove('mine_shout')
    loud = ours.replace(name='mine_shout', preprocessors=[shout, *ours.preprocessors])
    seqio.TaskRegistry.add_provider('mine_shout', loud)
    for name in ('fsa_acsa_rest16', 'mine_shout'):
        (source,) = resolve(vocabulary, tasks=(name,), data_dir=str(tmp_path))
        assert source.metric == 'acsa'
        with pytest.raises(UserError, match=r'^[^ ]*train.json:3: missing field'):
            list(source.batches('train', seed=0))

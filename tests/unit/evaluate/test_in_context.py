"""`fsa in-context` with an engine whose answers, and so whose F1, are known."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsa_jax import configs as c
from fsa_jax import stages
from fsa_jax.errors import UserError
from fsa_jax.evaluate import demonstrations, llm_answers
from fsa_jax.records import Prediction, read_jsonl
from fsa_jax.teacher.engine import Answer

LABELS = ('negative', 'neutral', 'positive')


def aspect(target, category, polarity):
    return {'from': 0, 'to': 0, 'target': target, 'category': category, 'polarity': polarity}


SENTENCES = {  # sentence: (aspects, what the engine says)
    'the soup was hot': ([aspect('soup', 'FOOD#QUALITY', 'positive')], 'food quality | positive'),
    'slow waiter, good tea': (
        [aspect('waiter', 'SERVICE#GENERAL', 'negative'), aspect('tea', 'DRINKS#QUALITY', 'positive')],
        '- Service General | Negative\n- "food quality" | positive',  # one right, one wrong
    ),
    'we went on a monday': ([], 'None.'),
    'i will be back': ([aspect('NULL', 'RESTAURANT#GENERAL', 'positive')], 'I think it is nice!'),
}  # fmt: skip
# gold 4, predicted 3, right 2: precision 2/3, recall 1/2
F1 = 2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'fsa' / 'acsa' / 'toy'
    folder.mkdir(parents=True)
    records = [
        {'ID': f'toy:{n}', 'sentence': text, 'aspects': aspects}
        for n, (text, (aspects, _)) in enumerate(SENTENCES.items())
    ]
    train = [
        {**record, 'sentence': f'train: {record["sentence"]}'}
        for record in records
        for _ in range(3)
    ]
    for name, content in (
        ('train', train),
        ('dev', []),
        ('test', records[:2]),
        ('hard_test', records[2:]),
    ):
        (folder / f'{name}.json').write_text(json.dumps(content))
    return tmp_path


class Engine:
    """Says what SENTENCES says, and keeps what it was asked."""

    teacher = 'known'
    dies_after = None

    def __init__(self, say):
        self.say, self.asked = say, []

    def answers(self, requests):
        for request in requests:
            if self.dies_after is not None and len(self.asked) == self.dies_after:
                raise UserError('the server is dead')
            self.asked.append(request)
            yield request, self.say(request)

    def close(self):
        """Nothing to free."""


@pytest.fixture
def engine(monkeypatch):
    engine = Engine(lambda r: Answer(SENTENCES[r.review.text][1], 'stop', 100, 10))
    monkeypatch.setattr('fsa_jax.evaluate.in_context.make_engine', lambda *_: engine)
    return engine


def ask(output, **knobs):
    config = c.InContextConfig(**knobs)
    teacher = c.TeacherConfig(model='known')
    sampling = c.SamplingConfig(temperature=0.0)
    configs = [config, teacher, sampling, c.VLLMConfig(), c.ServerConfig()]
    stages.run('in-context', configs, output)
    return json.loads((output / 'scores.json').read_text())


def test_the_f1_of_known_answers(root, engine, tmp_path):
    told = ask(
        tmp_path / 'out', dataset='acsa_toy', data_dir=str(root), k=3, prompt_price=2.0, output_price=10.0,
    )  # fmt: skip
    normal = told['tasks']['fsa_acsa_toy']['subsets']['normal']
    assert normal['f1'] == pytest.approx(F1)
    assert (normal['gold'], normal['predicted']) == (4, 3)
    cost = told['cost']
    assert (cost['answered'], cost['malformed'], cost['refused']) == (4, 1, 0)
    assert (cost['prompt_tokens'], cost['output_tokens']) == (400, 40)
    assert cost['cost_per_1000'] == pytest.approx((100 * 2 + 10 * 10) / 1e6 * 1000)
    assert cost['seconds_per_1000'] > 0


def test_predictions_go_through_fsa_score(root, engine, tmp_path):
    told = ask(tmp_path / 'out', dataset='acsa_toy', data_dir=str(root))
    rows = list(read_jsonl(Prediction, tmp_path / 'out' / 'predictions.jsonl'))
    assert [row.id for row in rows] == [f'toy:{n}' for n in range(4)]
    assert [row.flags for row in rows] == [(), (), (), ('malformed',)]
    stages.run('score', [c.ScoreConfig(predictions=str(tmp_path / 'out'))], tmp_path / 'scored')
    scored = json.loads((tmp_path / 'scored' / 'scores.json').read_text())
    assert scored['tasks'] == told['tasks']


@pytest.mark.parametrize('as_json', [False, True])
def test_what_is_asked(root, engine, tmp_path, as_json):
    if as_json:
        engine.say = lambda r: Answer('{"pairs": []}')
    ask(tmp_path / 'out', dataset='acsa_toy', data_dir=str(root), k=2, json=as_json)
    turns = engine.asked[0].prompt.messages
    assert [t['role'] for t in turns] == ['user', 'assistant'] * 2 + ['user']
    assert (
        'drinks quality, food quality, restaurant general, service general' in turns[0]['content']
    )
    assert turns[-1]['content'] == 'Sentence: the soup was hot'
    shared = [r.prompt.messages[:-1] for r in engine.asked]
    assert all(s == shared[0] for s in shared)  # one prefix for all
    if as_json:
        schema = engine.asked[0].prompt.schema
        jsonschema.validate(json.loads(turns[1]['content']), schema)
        assert (
            schema['properties']['pairs']['items']['properties']['category']['enum'][0]
            == 'drinks quality'
        )


def test_an_interrupted_run_asks_only_for_the_rest(root, engine, tmp_path):
    engine.dies_after = 2
    with pytest.raises(UserError, match='dead'):
        ask(tmp_path / 'out', dataset='acsa_toy', data_dir=str(root))
    engine.dies_after = None
    told = ask(tmp_path / 'out', dataset='acsa_toy', data_dir=str(root))
    assert [r.review.id for r in engine.asked] == ['0', '1', '2', '3']
    assert told['tasks']['fsa_acsa_toy']['subsets']['normal']['f1'] == pytest.approx(F1)


def test_a_refused_sentence_has_a_row_and_no_pairs(root, engine, tmp_path):
    say = engine.say
    engine.say = lambda r: Answer(refused='too_long') if r.review.id == '0' else say(r)
    told = ask(tmp_path / 'out', dataset='acsa_toy', data_dir=str(root))
    assert told['cost']['refused'] == 1
    assert told['tasks']['fsa_acsa_toy']['subsets']['normal']['gold'] == 4
    rows = list(read_jsonl(Prediction, tmp_path / 'out' / 'predictions.jsonl'))
    assert rows[0].flags == ('refused',)


def test_knobs_of_teach_are_refused(root, tmp_path):
    for knobs in ({'engine': 'scripted'}, {'model': 'known', 'shard': '0/2'}):
        configs = [
            c.InContextConfig(dataset='acsa_toy', data_dir=str(root)),
            c.TeacherConfig(**knobs),
        ]
        with pytest.raises(UserError, match='TeacherConfig'):
            stages.run(
                'in-context', [*configs, c.SamplingConfig(), c.VLLMConfig(), c.ServerConfig()], tmp_path / 'out'
            )  # fmt: skip


def test_sentence_and_aspect_labels_without_demonstrations(root, engine, tmp_path):
    rows = [{'sentence': f'text {n}', 'label': LABELS[2 * (n % 2)]} for n in range(4)]
    (tmp_path / 'texts.json').write_text(json.dumps(rows))
    engine.say = lambda r: Answer('Positive.' if r.review.id != '0' else 'positive or negative')
    told = ask(tmp_path / 'out', mode='sentence', k=0, data=str(tmp_path / 'texts.json'))
    found = told['tasks']['texts']['in_context']
    assert (found['accuracy'], found['rows'], told['cost']['malformed']) == (0.5, 4, 1)

    engine.say = lambda r: Answer('negative' if 'Term: waiter' in r.review.text else 'positive')
    told = ask(tmp_path / 'aspects', mode='aspect', k=0, data=str(root / 'fsa' / 'acsa' / 'toy'))
    found = told['tasks']['toy']['in_context']
    assert (found['accuracy'], found['rows']) == (1.0, 3)  # NULL has no row


def test_half_a_character_is_survived(engine, tmp_path):
    """JSON may hold one, files of text may not."""
    (tmp_path / 'texts.json').write_text('[{"sentence": "good \\ud83d", "label": "positive"}]')
    engine.say = lambda r: Answer('positive')
    ask(tmp_path / 'out', mode='sentence', k=0, data=str(tmp_path / 'texts.json'))
    (row,) = read_jsonl(Prediction, tmp_path / 'out' / 'predictions.jsonl')
    assert row.sentence == 'good ?'


POOL = [(f'{a} {b}', b) for a in ('soup', 'tea', 'waiter') for b in ('hot', 'cold', 'slow', 'late')]


def test_random_demonstrations_are_seeded_and_nested():
    sentences = ['a', 'b', POOL[3][0]]
    few = demonstrations.choose(POOL, sentences, 2, 'random', 0)
    more = demonstrations.choose(POOL, sentences, 5, 'random', 0)
    assert few == demonstrations.choose(POOL, sentences, 2, 'random', 0)
    assert few != demonstrations.choose(POOL, sentences, 2, 'random', 1)
    assert [m[:2] for m in more] == few
    assert all(len(m) == 5 for m in more)
    assert POOL[3] not in demonstrations.choose(POOL, sentences, 11, 'random', 0)[2]


def test_bm25_puts_the_most_similar_last_and_never_the_sentence_itself():
    found = demonstrations.choose(POOL, ['my waiter was late', 'tea cold'], 3, 'bm25', 0)
    assert found[0][-1] == ('waiter late', 'late')
    assert ('tea cold', 'cold') not in found[1]
    assert all({'tea', 'cold'} & set(sentence.split()) for sentence, _ in found[1])


@pytest.mark.parametrize(
    ('answer', 'text', 'malformed'),
    [
        ('soup | positive ; tea | negative', 'soup | positive ; tea | negative', False),
        ('1. soup | Positive.\n2) tea | NEGATIVE', 'soup | positive ; tea | negative', False),
        ('- `soup` | positive\n"tea | negative"', 'soup | positive ; tea | negative', False),
        ('none', '', False),
        ('soup is good', 'soup is good', True),
        ('soup | great', 'soup | great', True),
        ('', '', False),
    ],
)
def test_pairs_of_free_text(answer, text, malformed):
    read = llm_answers.read_pairs('atsa', answer, 'soup and tea', LABELS, False)
    assert read == llm_answers.Read(text, malformed)


@given(
    st.text()
    | st.lists(st.sampled_from(['soup', '|', ';', 'positive', '\n', '- ', '"', '{'])).map(''.join)
)
def test_any_answer_is_read(answer):
    for as_json in (False, True):
        for task in ('acsa', 'atsa'):
            llm_answers.read_pairs(task, answer, answer, LABELS, as_json)
        assert llm_answers.read_label(answer, LABELS, as_json).text in ('', *LABELS)


@given(
    st.lists(
        st.tuples(st.sampled_from(['soup', 'late "tea"', 'a | b']), st.sampled_from(LABELS)),
        max_size=4,
    )
)
def test_demonstrations_as_json_read_back(pairs):
    target = ' ; '.join(f'{term} | {polarity}' for term, polarity in pairs)
    answer = llm_answers.write_pairs('atsa', target, True)
    jsonschema.validate(json.loads(answer), llm_answers.pairs_schema('atsa', LABELS))
    assert [(p['term'], p['polarity']) for p in json.loads(answer)['pairs']] == pairs


@pytest.mark.parametrize('as_json', [False, True])
@pytest.mark.parametrize(
    'term', ['"salt encrusted shrimp" appetizer', "maitre d'", '"Roy\'s Classics"']
)
def test_quotes_of_the_sentence_stay(term, as_json):
    target = f'{term} | positive ; food | negative'
    answer = llm_answers.write_pairs('atsa', target, as_json)
    read = llm_answers.read_pairs('atsa', answer, f'the {term} but the food', LABELS, as_json)
    assert read == llm_answers.Read(target, False)

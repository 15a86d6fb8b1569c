"""A user's own labels: every file form gives the same sentences, and bad ones are named."""

import json

import pytest

from fsa_jax.configs import TrainData
from fsa_jax.data.labels import read_labels
from fsa_jax.errors import UserError
from fsa_jax.evaluate import f1
from fsa_jax.records import Aspect
from fsa_jax.text_format import acsa_target, atsa_target

TEXT = 'The battery is great but the screen is dim, the battery though.'
SEMEVAL_2014 = f"""<?xml version="1.0" encoding="UTF-8"?>
<sentences>
  <sentence id="a1">
    <text>{TEXT}</text>
    <aspectTerms>
      <aspectTerm term="battery" polarity="positive" from="4" to="11"/>
      <aspectTerm term="screen" polarity="negative" from="29" to="35"/>
    </aspectTerms>
    <aspectCategories>
      <aspectCategory category="power" polarity="positive"/>
      <aspectCategory category="display" polarity="negative"/>
    </aspectCategories>
  </sentence>
  <sentence id="a2"><text>Fish &amp; chips.</text></sentence>
</sentences>
"""
SEMEVAL_2016 = f"""<Reviews><Review rid="1"><sentences>
  <sentence id="a1"><text>{TEXT}</text><Opinions>
    <Opinion target="battery" category="power" polarity="positive" from="4" to="11"/>
    <Opinion target="screen" category="display" polarity="negative" from="29" to="35"/>
  </Opinions></sentence>
  <sentence id="a2" OutOfScope="TRUE"><text>Fish &amp; chips.</text></sentence>
</sentences></Review></Reviews>
"""


def span(region, start, end, label):
    value = {'start': start, 'end': end, 'text': TEXT[start:end], 'labels': [label]}
    return {'id': region, 'type': 'labels', 'from_name': 'l', 'to_name': 't', 'value': value}


def choice(region, text):
    return {'id': region, 'type': 'choices', 'value': {'choices': [text]}}


def label_studio(*results, text=TEXT):
    return {
        'id': 11,
        'data': {'text': text},
        'annotations': [{'was_cancelled': True, 'result': []}, {'result': list(results)}],
    }


LABEL_STUDIO_TERMS = [
    label_studio(span('x', 4, 11, 'positive'), span('y', 29, 35, 'negative')),
    {'id': 12, 'data': {'text': 'not yet labelled'}, 'annotations': []},
    label_studio(text='Fish & chips.'),
]
LABEL_STUDIO_CATEGORIES = [
    label_studio(
        span('x', 4, 11, 'power'), choice('x', 'positive'), choice('z', 'display|negative')
    ),
    label_studio(text='Fish & chips.'),
]
JSON_OBJECTS = [
    {
        'sentence': TEXT,
        'aspects': [
            {'term': 'battery', 'category': 'power', 'sentiment': 'positive', 'from': 4, 'to': 11},
            {'target': 'screen', 'category': 'display', 'polarity': 'negative'},
        ],
    },
    {'sentence': 'Fish & chips.', 'aspects': None},
]
TERMS = 'battery | positive ; screen | negative'
CATEGORIES = 'power | positive ; display | negative'
FORMS = {
    '2014.xml': (SEMEVAL_2014, SEMEVAL_2014),
    '2016.xml': (SEMEVAL_2016, SEMEVAL_2016),
    'a.json': (json.dumps(JSON_OBJECTS), json.dumps(JSON_OBJECTS)),
    'a.jsonl': tuple(
        json.dumps({'sentence': TEXT, 'aspects': pairs})
        + '\n'
        + json.dumps({'sentence': 'Fish & chips.', 'aspects': []})
        for pairs in (
            [['battery', 'positive'], ['screen', 'negative']],
            [['power', 'positive'], ['display', 'negative']],
        )
    ),
    'a.csv': tuple(
        f'id,sentence,aspects\n7,"{TEXT}",{labels}\n8,Fish & chips.,\n'
        for labels in (TERMS, CATEGORIES)
    ),
    'a.tsv': tuple(
        f'sentence\taspects\n{TEXT}\t{labels}\nFish & chips.\t\n' for labels in (TERMS, CATEGORIES)
    ),
    'studio.json': (json.dumps(LABEL_STUDIO_TERMS), json.dumps(LABEL_STUDIO_CATEGORIES)),
}


def whole(path, task='atsa', **changes):
    config = TrainData(
        path=str(path), task=task, validation_fraction=0.0, test_fraction=0.0
    ).replace(**changes)
    return read_labels(config)


@pytest.mark.parametrize('bom', ['', '\ufeff'])
@pytest.mark.parametrize('name', FORMS)
def test_every_form_gives_the_same_targets(tmp_path, name, bom):
    for task, content in zip(('atsa', 'acsa'), FORMS[name]):
        path = tmp_path / name
        path.write_text(bom + content, encoding='utf-8')
        labels = whole(path, task)
        first, second = labels.splits['train']
        assert (first.sentence, second.sentence) == (TEXT, 'Fish & chips.')
        assert second.aspects == ()
        assert labels.metric == task
        target = atsa_target(first.aspects) if task == 'atsa' else acsa_target(first.aspects)
        assert target == (TERMS if task == 'atsa' else CATEGORIES)


def test_a_term_without_offsets_is_placed_where_it_stands(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text(f'sentence,aspects\n"{TEXT}",screen | bad ; battery | good ; battery | ok\n')
    labels = whole(path)
    (sentence,) = labels.splits['train']
    assert [(a.target, a.start, a.end) for a in sentence.aspects] == [
        ('screen', 29, 35),
        ('battery', 4, 11),
        ('battery', 48, 55),
    ]
    assert atsa_target(sentence.aspects) == 'battery | good ; screen | bad ; battery | ok'


def test_polarities_of_their_own_reach_the_scorer(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text(f'sentence,aspects\n"{TEXT}",screen | meh ; battery | superb\n')
    labels = whole(path)
    assert labels.metric == 'atsa:meh,superb'
    gold = 'battery | superb ; screen | meh'
    assert f1.score(labels.metric, ['battery | superb'], [gold], [TEXT]).recall == 0.5


def test_spaces_around_a_polarity_are_none_of_it(tmp_path):
    """The scorer strips them, and would find no such polarity."""
    path = tmp_path / 'a.jsonl'
    path.write_text(json.dumps({'sentence': TEXT, 'aspects': [['battery', 'good ']]}))
    labels = whole(path)
    gold = atsa_target(labels.splits['train'][0].aspects)
    assert f1.score(labels.metric, [gold], [gold], [TEXT]).gold == 1


def test_a_polarity_of_one_split_of_the_training_file_is_known(tmp_path):
    """Also where another split has a file of its own."""
    path = tmp_path / 'a.jsonl'
    lines = [{'sentence': f'x {i}', 'aspects': [['x', f'own{i}']]} for i in range(10)]
    path.write_text('\n'.join(map(json.dumps, lines)))
    other = tmp_path / 'b.jsonl'
    other.write_text(json.dumps(lines[0]))
    labels = whole(path, test_fraction=0.5, validation_path=str(other))
    assert labels.metric == 'atsa:' + ','.join(f'own{i}' for i in range(10))


def rows(count):
    return ''.join(
        json.dumps({'sentence': f'Text {i % 80}', 'aspects': [['Text', 'good']]}) + '\n'
        for i in range(count)
    )


def test_a_split_is_made_by_seed_and_repeated_sentences_stay_together(tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_text(rows(100))  # 20 of the 80 texts occur twice
    config = TrainData(path=str(path), validation_fraction=0.2, test_fraction=0.1)
    splits = read_labels(config).splits
    texts = {name: {s.sentence for s in found} for name, found in splits.items()}
    assert {name: len(t) for name, t in texts.items()} == {'train': 56, 'validation': 16, 'test': 8}
    assert sum(map(len, splits.values())) == 100
    assert not texts['train'] & texts['validation']
    assert read_labels(config).splits == splits
    assert read_labels(config.replace(seed=1)).splits != splits


def test_files_of_their_own_are_not_split(tmp_path):
    for name, content in (('a', rows(10)), ('b', rows(3))):
        (tmp_path / f'{name}.jsonl').write_text(content)
    config = TrainData(
        path=str(tmp_path / 'a.jsonl'),
        validation_path=str(tmp_path / 'b.jsonl'),
        test_fraction=0.2,
    )
    splits = read_labels(config).splits
    assert {name: len(s) for name, s in splits.items()} == {'train': 8, 'validation': 3, 'test': 2}


BAD = [
    ('a.csv', 'sentence,aspects\nx,y | good\n', 2, "the term 'y' is not in its sentence"),
    ('a.csv', 'text,aspects\nx,y | good\n', 2, r"missing field 'sentence'.*TrainData.text_field"),
    ('a.csv', 'sentence,aspects\nx\n', 2, 'expected 2 columns'),
    ('a.csv', 'sentence,aspects\n"x\ny",x | good\nx,x good\n', 4, "expected 'term | polarity'"),
    ('a.csv', 'sentence,aspects\nx,x | \n', 2, 'a polarity may not be empty'),
    ('a.csv', 'sentence,aspects\n,\n', 2, "expected the text of a sentence, got ''"),
    ('a.jsonl', '{"sentence": "x", "aspects": []}\n{"sentence": "x"\n', 2, 'broken line'),
    ('a.jsonl', '{"sentence": "x", "aspects": [{"term": "x"}]}', 1, "missing field 'polarity'"),
    ('a.jsonl', '{"sentence": "x", "aspects": [["x", "a|b"]]}', 1, 'a polarity may not .* hold'),
    (
        'a.jsonl',
        '{"sentence": "2020", "aspects": [{"term": 2020, "polarity": "good"}]}',
        1,
        'a term and a category must be text',
    ),
    (
        'a.json',
        '[{"data": {"text": "x"}, "annotations": [{"result": [{"type": "labels"}]}]}]',
        1,
        "not a region .* KeyError 'id'",
    ),
    ('a.json', '[{"data": {"text": "x"}, "annotations": 3}]', 1, 'not a region'),
    ('a.json', '[{"data": {"text": "x"}, "annotations": [3]}]', 1, 'not a region'),
    ('a.json', '[{"data": null, "annotations": [{"result": []}]}]', 1, 'not a region'),
    (
        'a.jsonl',
        '{"sentence": "x", "aspects": [{"term": "x", "polarity": "good", "from": 1e999}]}',
        1,
        'an offset must be a whole number',
    ),
    ('a.xml', '<sentences>\n<sentence>\n</sentences>', 3, 'broken XML'),
    (
        'a.xml',
        SEMEVAL_2014.replace(' polarity="negative" from', ' from'),
        7,
        "attribute 'polarity'",
    ),
    ('a.xml', '<sentences><sentence><text>x</text></sentence></sentences>', 1, 'no aspectTerm'),
]


@pytest.mark.parametrize(('name', 'content', 'line', 'message'), BAD)
def test_a_bad_label_is_named_with_file_and_line(tmp_path, name, content, line, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=f'{name}:{line}: .*{message}') as error:
        whole(path)
    assert '\n' not in str(error.value)


def test_a_polarity_that_the_training_file_has_not_is_named(tmp_path):
    (tmp_path / 'a.csv').write_text('sentence,aspects\nx,x | good\n')
    (tmp_path / 'b.csv').write_text('sentence,aspects\nx,\nx,x | godo\n')
    with pytest.raises(UserError, match=r"b.csv:3: unknown polarity 'godo' \(did you mean 'good'"):
        whole(tmp_path / 'a.csv', validation_path=str(tmp_path / 'b.csv'))


def test_categories_are_asked_for_where_the_task_is_acsa(tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_text('{"sentence": "x", "aspects": [{"term": "x", "polarity": "good"}]}')
    with pytest.raises(UserError, match=r'a.jsonl:1: a label without category'):
        whole(path, 'acsa')


def test_an_opinion_about_no_term_is_kept_for_the_subsets_and_out_of_the_target(tmp_path):
    path = tmp_path / 'a.xml'
    path.write_text(SEMEVAL_2016.replace('target="screen"', 'target="NULL"'))
    (first, _) = whole(path).splits['train']
    assert first.aspects[1] == Aspect(None, 'display', 'negative', 29, 35)
    assert atsa_target(first.aspects) == 'battery | positive'


def test_an_unknown_form_or_file_says_which_knob(tmp_path):
    (tmp_path / 'a.xlsx').write_text('x')
    with pytest.raises(UserError, match=r'set TrainData.format'):
        whole(tmp_path / 'a.xlsx')
    with pytest.raises(UserError, match=r'TrainData.path=.*no such file'):
        whole(tmp_path / 'none.csv')

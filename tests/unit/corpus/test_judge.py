"""Judging by people: what raters get tells nothing, and ratings with a known answer give it."""

import csv
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fsa_jax import stages
from fsa_jax.configs import JudgeExportConfig, JudgeScoreConfig
from fsa_jax.corpus.judge_score import Rating, alpha
from fsa_jax.errors import UserError
from fsa_jax.records import Generation, Prediction, write_jsonl

# Four raters, twelve units: the worked example of Krippendorff, Computing Krippendorff's
# Alpha-Reliability (2011), section C to E. His alphas: ordinal .815, interval .849.
_ = None
KRIPPENDORFF = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3),
    (_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _),
)


def rated(table, criterion='accuracy'):
    return [
        Rating(f'i{unit}', criterion, f'r{rater}', value)
        for rater, row in enumerate(table)
        for unit, value in enumerate(row)
        if value is not None
    ]


@pytest.mark.parametrize(('level', 'known'), [('ordinal', 0.815), ('interval', 0.849)])
def test_alpha_of_the_published_example(level, known):
    assert alpha(rated(KRIPPENDORFF), level) == pytest.approx(known, abs=5e-4)


def test_alpha_where_it_is_not_defined():
    assert alpha(rated(KRIPPENDORFF[:1]), 'ordinal') is None
    assert alpha(rated([(3, 3), (3, 3)]), 'ordinal') is None


@pytest.fixture(scope='module')
def export(tmp_path_factory):
    """A teacher and a student, 30 reviews, 20 of them drawn."""
    folder = tmp_path_factory.mktemp('judge')
    teacher = [Generation(f'g{i}', 'analysis', f'review {i}', f'= answer a{i}') for i in range(30)]
    other = [Generation(f'x{i}', 'rewriting', f'review {i}', 'a rewriting') for i in range(30)]
    write_jsonl(folder / 'mixtral.jsonl', teacher + other)
    (folder / 'student').mkdir()
    student = [Prediction(f'p{i}', f'Review  {i}!', f'answer b{i}') for i in range(5, 40)]
    write_jsonl(folder / 'student' / 'predictions.jsonl', student)
    systems = {'mixtral': str(folder / 'mixtral.jsonl'), 'student': str(folder / 'student')}
    stages.run('judge export', (JudgeExportConfig(systems=systems, reviews=20),), folder / 'export')
    return folder / 'export'


def rows_of(export):
    with open(export / 'for_raters' / 'ratings.csv', encoding='utf-8-sig', newline='') as file:
        return list(csv.DictReader(file))


def test_what_raters_get_is_blind_and_complete(export):
    key = json.loads((export / 'key.json').read_text())
    rows = rows_of(export)
    assert len(rows) == 40 == len(key['items'])
    assert {row['item'] for row in rows} == key['items'].keys()
    assert all(re.fullmatch('i[0-9a-f]{12}', row['item']) for row in rows)  # never a number
    for row in rows:
        named = {'mixtral': 'a', 'student': 'b'}[key['items'][row['item']]['system']]
        assert f'answer {named}' in row['answer']
        assert not row['answer'].startswith('=')
        assert [row[c] for c in key['criteria']] == [''] * 4
    firsts = [key['items'][row['item']]['system'] for row in rows[::2]]
    assert 4 <= firsts.count('mixtral') <= 16  # not always the same one first
    for file in (export / 'for_raters').iterdir():
        text = file.read_text()
        assert not any(name in text for name in ('mixtral', 'student', 'g7', 'p7'))
    assert (export / 'key.json').stat().st_mode & 0o077 == 0


def test_the_label_studio_project_holds_the_same(export):
    tasks = json.loads((export / 'for_raters' / 'label_studio.json').read_text())
    assert [t['data']['item'] for t in tasks] == [row['item'] for row in rows_of(export)]
    view = ElementTree.parse(export / 'for_raters' / 'label_studio.xml').getroot()
    assert [r.get('name') for r in view.iter('Rating')] == [
        'accuracy', 'reasoning_quality', 'persuasiveness', 'hallucination',
    ]  # fmt: skip
    shown = {text.get('value')[1:] for text in view.iter('Text')}
    assert shown <= tasks[0]['data'].keys()


def ratings_by(export, rater: int) -> list[dict]:
    """What a made rater says: the teacher gets 4 or 5, the student 2 or 3, all agree but for noise."""
    key, rng = json.loads((export / 'key.json').read_text()), np.random.default_rng(7)
    filled = []
    for row in rows_of(export):
        base = 4 if key['items'][row['item']]['system'] == 'mixtral' else 2
        value = base + int(rng.random() < 0.5)
        noise = int(np.random.default_rng([rater, len(filled)]).random() < 0.1)
        filled.append(row | dict.fromkeys(key['criteria'], min(5, value + noise)))
    return filled


def write_csv(path, rows, delimiter=','):
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def label_studio(path, rows, rater):
    tasks = [
        {'id': n, 'data': {'item': row['item']}, 'annotations': [
            {'completed_by': {'id': 1, 'email': rater}, 'was_cancelled': False, 'result': [
                {'from_name': name, 'to_name': 'answer', 'type': 'rating', 'value': {'rating': row[name.replace('_', ' ')]}}
                for name in ('accuracy', 'reasoning_quality', 'persuasiveness', 'hallucination')
            ]},
            {'completed_by': 2, 'was_cancelled': True, 'result': []},
        ]} for n, row in enumerate(rows)
    ]  # fmt: skip
    path.write_text(json.dumps(tasks))
    return str(path)


def test_ratings_from_all_forms_make_means_intervals_and_agreement(export, tmp_path, capsys):
    rows = [ratings_by(export, rater) for rater in range(3)]
    files = (
        write_csv(tmp_path / 'ann.csv', rows[0]),
        write_csv(tmp_path / 'bob.csv', rows[1], ';'),
        label_studio(tmp_path / 'export.json', rows[2], 'cy@example.org'),
    )
    config = JudgeScoreConfig(export=str(export), ratings=files)
    stages.run('judge score', (config,), tmp_path / 'scores')
    result = json.loads((tmp_path / 'scores' / 'judge.json').read_text())
    assert result['raters'] == ['ann', 'bob', 'cy@example.org']
    found = result['criteria']['reasoning quality']
    key = json.loads((export / 'key.json').read_text())
    for system in ('mixtral', 'student'):
        values = [
            row['accuracy']
            for filled in rows
            for row in filled
            if key['items'][row['item']]['system'] == system
        ]
        own = found['systems'][system]
        assert own['mean'] == pytest.approx(np.mean(values), abs=1e-6)
        assert own['interval'][0] < own['mean'] < own['interval'][1]
    low, high = found['differences']['mixtral - student']['interval']
    assert 1.5 < low < 2 < high < 2.5
    ours = [
        Rating(r['item'], 'a', str(n), r['accuracy'])
        for n, filled in enumerate(rows)
        for r in filled
    ]
    assert found['alpha'] == pytest.approx(alpha(ours, 'ordinal'))
    assert found['alpha'] > 0.8
    assert 'reasoning quality' in capsys.readouterr().out
    assert '| accuracy |' in (tmp_path / 'scores' / 'judge.md').read_text()


def test_a_column_may_name_the_raters(export, tmp_path):
    rows = [row | {'rater': f'r{n}'} for n in range(2) for row in ratings_by(export, n)]
    file = write_csv(tmp_path / 'all.csv', rows)
    stages.run(
        'judge score', (JudgeScoreConfig(export=str(export), ratings=(file,)),), tmp_path / 'scores'
    )
    assert json.loads((tmp_path / 'scores' / 'judge.json').read_text())['raters'] == ['r0', 'r1']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'item': 'nobody'}, "item 'nobody' is not in the key"),
        ({'accuracy': '6'}, "accuracy must be a rating from 1 to 5; got '6'"),
        ({'accuracy': 'good'}, "accuracy must be a rating from 1 to 5; got 'good'"),
    ],
)
def test_a_wrong_rating_is_one_line(export, tmp_path, change, message):
    file = write_csv(tmp_path / 'r.csv', [ratings_by(export, 0)[0] | change])
    config = JudgeScoreConfig(export=str(export), ratings=(file,))
    with pytest.raises(UserError, match=message):
        stages.run('judge score', (config,), tmp_path / 'scores')


def test_two_raters_under_one_name_are_not_one(export, tmp_path):
    files = []
    for n, rater in enumerate(('ann', 'bob')):
        (tmp_path / rater).mkdir()
        files.append(write_csv(tmp_path / rater / 'ratings.csv', ratings_by(export, n)))
    config = JudgeScoreConfig(export=str(export), ratings=tuple(files))
    with pytest.raises(UserError, match=r"'ratings' rated accuracy of item .* 2 times"):
        stages.run('judge score', (config,), tmp_path / 'scores')


def test_a_file_in_another_encoding_and_a_damaged_key_are_one_line(export, tmp_path):
    path = tmp_path / 'r.csv'
    row = ratings_by(export, 0)[0] | {'comment': 'très bien'}
    write_csv(path, [row])
    path.write_text(path.read_text('utf-8'), 'cp1252')
    config = JudgeScoreConfig(export=str(export), ratings=(str(path),))
    with pytest.raises(UserError, match=r'r\.csv:2: expected UTF-8 text'):
        stages.run('judge score', (config,), tmp_path / 'scores')
    (tmp_path / 'key.json').write_text('{"items": {')
    with pytest.raises(UserError, match=r'no readable key\.json'):
        stages.run('judge score', (config.replace(export=str(tmp_path)),), tmp_path / 'scores')


@pytest.mark.parametrize('content', ['{"item": "i1"}', '["item"]'])
def test_json_that_is_no_export_of_label_studio_is_one_line(export, tmp_path, content):
    (tmp_path / 'r.json').write_text(content)
    config = JudgeScoreConfig(export=str(export), ratings=(str(tmp_path / 'r.json'),))
    with pytest.raises(UserError, match=r'r\.json: expected an export of Label Studio'):
        stages.run('judge score', (config,), tmp_path / 'scores')


def test_systems_without_a_review_in_common(tmp_path):
    for name in 'ab':
        write_jsonl(
            tmp_path / f'{name}.jsonl', [Generation('1', 'analysis', f'review {name}', 'x')]
        )
    systems = {name: str(tmp_path / f'{name}.jsonl') for name in 'ab'}
    with pytest.raises(UserError, match='no review was answered by all'):
        stages.run('judge export', (JudgeExportConfig(systems=systems),), tmp_path / 'export')
    with pytest.raises(UserError, match='expected two or more'):
        stages.run('judge export', (JudgeExportConfig(),), tmp_path / 'export')

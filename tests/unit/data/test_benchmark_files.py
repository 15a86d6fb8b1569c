"""The published benchmark files and their oddities, by hand and on the real data."""

import json
import re

import pytest

from fsa_jax.data import benchmark_files
from fsa_jax.data.json_records import read_json_records
from fsa_jax.errors import UserError
from fsa_jax.text_format import acsa_target, atsa_target

ASPECT = {
    'from': '0',
    'to': '4',
    'target': 'NULL',
    'category': 'FOOD#QUALITY',
    'polarity': 'positive',
}
RECORD = {'ID': '1', 'sentence': 'Yum!', 'aspects': [ASPECT]}


def write(path, records, bom=True, indent=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(records, indent=indent, ensure_ascii=False)
    path.write_text(text, encoding='utf-8-sig' if bom else 'utf-8')
    return path


def test_oddities_of_the_published_files_are_read_as_they_are(tmp_path):
    odd = [
        {**ASPECT, 'from': 3, 'to': 9, 'opinion_words': 'tasty'},
        {**ASPECT, 'from': None, 'to': None, 'target': None, 'opinion_words': ['a', 'b']},
        {**ASPECT, 'category': None, 'target': 'fast\u00a0food', 'opinion_words': None},
    ]
    text = 'The fast\u00a0food &quot;rocks&quot;'
    path = write(
        tmp_path / 'a.json',
        [{'ID': 7, 'sentence': text, 'aspects': odd, 'aspects2': []}, {**RECORD, 'aspects': []}],
    )
    first, second = benchmark_files.read_sentences(path)
    assert first.id == '7'
    assert first.sentence == text
    assert [(a.start, a.target) for a in first.aspects] == [
        (3, 'NULL'),
        (None, None),
        ('0', 'fast\u00a0food'),
    ]
    assert [a.opinion_words for a in first.aspects] == ['tasty', ['a', 'b'], None]
    assert second.aspects == ()


def test_a_file_set_with_the_oddities_of_the_laptop_files(tmp_path):
    """HTML entities in sentences, U+00A0 inside targets, offsets that do not point at the target."""
    target, text = 'hard\u00a0disk', 'My hard\u00a0disk &amp; the &quot;fan&quot; hum.'
    aspects = [
        {**ASPECT, 'from': '3', 'to': '12', 'target': target, 'opinion_words': 'hum'},
        {**ASPECT, 'from': '99', 'to': '120', 'target': 'fan', 'polarity': 'negative'},
    ]
    folder = tmp_path / 'fsa' / 'atsa' / 'laptop14'
    for name in ('train', 'dev', 'test', 'hard_test'):
        write(folder / f'{name}.json', [{'ID': name, 'sentence': text, 'aspects': aspects}])
    for split in ('train', 'validation', 'test', 'test_implicit', 'test_multiple'):
        found = benchmark_files.read_split('laptop14', split, tmp_path)
        assert [s.sentence for s in found] == [text] * (2 if 'test' in split else 1)
        assert {atsa_target(s.aspects) for s in found} == {f'{target} | positive ; fan | negative'}
    assert benchmark_files.read_split('laptop14', 'test_explicit', tmp_path) == []


def sentence(*aspects):
    record = {**RECORD, 'aspects': [{**ASPECT, **a} for a in aspects]}
    return benchmark_files.to_sentence(record, 'f:1')


@pytest.mark.parametrize(
    ('aspects', 'expected'),
    [
        ([], {'normal'}),
        ([{}], {'normal', 'implicit'}),
        ([{'opinion_words': ''}], {'normal', 'implicit'}),
        ([{'opinion_words': []}], {'normal', 'implicit'}),
        ([{'opinion_words': None}], {'normal', 'implicit'}),
        ([{'opinion_words': 'good'}], {'normal', 'explicit'}),
        ([{'opinion_words': ['good']}, {}], {'normal', 'implicit'}),
        (
            [
                {'opinion_words': ['x'], 'polarity': 'conflict'},
                {'opinion_words': ['y'], 'target': None},
            ],
            {'normal', 'explicit', 'multiple'},
        ),
    ],
)
def test_subsets(aspects, expected):
    assert set(benchmark_files.subsets(sentence(*aspects))) == expected


def test_a_test_split_is_test_then_hard_test_and_subsets_filter_it(tmp_path):
    folder = tmp_path / 'fsa' / 'acsa' / 'rest16'
    implicit = {**RECORD, 'ID': 'hard'}
    explicit = {**RECORD, 'ID': 'easy', 'aspects': [{**ASPECT, 'opinion_words': 'Yum'}]}
    write(folder / 'test.json', [explicit])
    write(folder / 'hard_test.json', [implicit], bom=False)

    def read(split):
        return [s.id for s in benchmark_files.read_split('rest16', split, tmp_path)]

    assert read('test') == ['easy', 'hard']
    assert read('test_implicit') == ['hard']
    assert read('test_explicit') == ['easy']
    assert read('test_multiple') == []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda r: r.pop('sentence'), r"missing field 'sentence'"),
        (lambda r: r.update(sentense=r.pop('sentence')), r"did you mean 'sentense'\?"),
        (lambda r: r['aspects'][0].pop('target'), r"missing field 'target'"),
        (lambda r: r['aspects'][0].update(polarity='positiv'), r"'positiv'.*mean 'positive'"),
        (lambda r: r['aspects'][0].update({'from': 'x'}), r"'from' must be a whole number"),
        (lambda r: r.update(aspects={}), r"'aspects' must be a list"),
        (lambda r: r['aspects'][0].update(category=3), r"'category' must be text or null"),
    ],
)
def test_a_bad_record_is_named_with_file_and_line(tmp_path, change, message):
    bad = json.loads(json.dumps(RECORD))
    change(bad)
    path = write(tmp_path / 'train.json', [RECORD, bad])
    line = path.read_text(encoding='utf-8-sig').split('\n').index('    {', 2) + 1
    with pytest.raises(UserError, match=rf'^{re.escape(str(path))}:{line}: .*{message}') as error:
        benchmark_files.read_sentences(path)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('content', 'where', 'message'),
    [
        (b'[\n{"a": 1},\n{"a" 2}]', ':3:', 'not valid JSON'),
        (b'[\n{"a": 1}\n{"a": 2}]', ':3:', "expected ',' or ']'"),
        (b'[\n{"a": 1},\n', ':3:', 'not valid JSON'),
        (b'[\n{"a": 1}]\n[{"a": 2}]\n', ':2:', 'the file goes on'),
        (b'[\n{"a": 1},\n5]', ':3:', 'expected a JSON object, got a int'),
        (b'{"a": 1}\n\n{"a": \n', ':3:', 'broken line'),
        (b'{"a": 1}\n\xef\xbb\xbf{"a": 2}\n', ':2:', 'byte-order mark in the middle'),
        (b'{"a": 1}\n{"a": "\xff"}\n', ':2:', 'expected UTF-8'),
        ('[{"a": 1}]'.encode('utf-16'), ':1:', 'byte-order mark of UTF-16'),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, content, where, message):
    path = tmp_path / 'x.json'
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f'{path}{where} ') + f'.*{re.escape(message)}'):
        list(read_json_records(path))


def test_an_unknown_dataset_or_missing_root_says_which_knob(tmp_path, monkeypatch):
    monkeypatch.delenv('FSA_DATA_DIR', raising=False)
    with pytest.raises(UserError, match=r'PackConfig.data_dir or FSA_DATA_DIR'):
        benchmark_files.read_split('rest16', 'train')
    with pytest.raises(UserError, match=r"did you mean 'rest16'"):
        benchmark_files.read_split('rest61', 'train', tmp_path)
    monkeypatch.setenv('FSA_DATA_DIR', str(tmp_path))
    with pytest.raises(UserError, match=r'has no fsa/acsa/rest16'):
        benchmark_files.read_split('rest16', 'train')


@pytest.mark.data
@pytest.mark.parametrize(
    ('dataset', 'split', 'sentences', 'pairs'),
    [
        ('rest16', 'train', 1600, None),
        ('rest16', 'validation', 400, None),
        ('rest16', 'test', 1016, 1255),
        ('rest16', 'test_implicit', 484, 653),
        ('rest16', 'test_multiple', 146, 325),
        ('laptop16', 'train', 2000, None),
        ('laptop16', 'validation', 500, None),
        ('laptop16', 'test', 1045, 1183),
        ('laptop16', 'test_implicit', 462, 706),
        ('laptop16', 'test_multiple', 94, 222),
        ('rest14', 'train', 2432, None),
        ('rest14', 'validation', 609, None),
        ('rest14', 'test', 1140, 1517),
        ('rest14', 'test_implicit', 477, 701),
        ('rest14', 'test_multiple', 189, 451),
        ('laptop14', 'train', 2436, None),
        ('laptop14', 'validation', 609, None),
        ('laptop14', 'test', 1037, 944),
        ('laptop14', 'test_implicit', 345, 492),
        ('laptop14', 'test_multiple', 99, 222),
    ],
)
def test_the_published_table(shared, dataset, split, sentences, pairs):
    task = benchmark_files.DATASETS[dataset]
    if not (shared / 'data/fsa' / task / dataset).is_dir():
        pytest.skip(f'{dataset} is not in {shared}')
    found = benchmark_files.read_split(dataset, split, shared / 'data')
    assert len(found) == sentences
    target = {'acsa': acsa_target, 'atsa': atsa_target}[task]
    golds = [target(s.aspects) for s in found]
    assert pairs is None or sum(len(g.split(' ; ')) for g in golds if g) == pairs


@pytest.mark.data
def test_explicit_is_what_has_aspects_and_is_not_implicit(shared):
    def read(split):
        return benchmark_files.read_split('rest14', split, shared / 'data')

    with_aspects = [s for s in read('test') if s.aspects]
    assert len(read('test_explicit')) == len(with_aspects) - len(read('test_implicit'))
    leaked = {s.sentence for s in read('train')} & {s.sentence for s in read('test')}
    assert len(leaked) <= 7  # small leakage is kept, not dropped

"""Every form of review dump gives the same reviews; what is wrong with one is named by file and line."""

import csv
import gzip
import json
from collections import Counter

import pyarrow
import pytest
from pyarrow import parquet

from fsa_jax.configs import ReviewsConfig
from fsa_jax.corpus.dumps import Dump, dump_files
from fsa_jax.corpus.screen import read_passing
from fsa_jax.errors import UserError
from tests.unit.corpus import dumps


def _read(path, dropped=None, **knobs):
    config = ReviewsConfig(**knobs)
    dump = Dump(dump_files(path, 'ReviewsConfig.path'), config)
    found = [r.review() for r in read_passing(dump, Counter() if dropped is None else dropped)]
    assert dump.position == dump.bytes
    return found


def _file(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


RECORDS = [dumps.yelp(number) for number in range(150)]
FACTS = [(record['text'], record['stars']) for record in RECORDS]


def _facts(reviews):
    return [(review.text, review.rating) for review in reviews]


@pytest.mark.parametrize(
    ('make', 'identity'),
    [
        (dumps.yelp, 'r7'),
        (dumps.amazon_2018, 'A7-B0-13'),
        (dumps.amazon_2023, 'A7-B0-158'),
    ],
)
@pytest.mark.parametrize('packed', [False, True])
def test_published_forms_are_known_by_their_columns(tmp_path, make, identity, packed):
    content = dumps.lines(map(make, range(150)))
    name = 'dump.json.gz' if packed else 'dump.jsonl'
    path = _file(tmp_path, name, gzip.compress(content) if packed else content)
    found = _read(path)
    assert _facts(found) == FACTS
    assert found[7].id == identity


def test_tables_and_arrays(tmp_path):
    rows = [{'body': r['text'], 'score': r['stars'], 'key': r['review_id']} for r in RECORDS]
    knobs = {'text_field': 'body', 'rating_field': 'score', 'id_field': 'key'}
    with open(tmp_path / 'a.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    _file(tmp_path, 'b.csv.gz', gzip.compress((tmp_path / 'a.csv').read_bytes()))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / 'c.parquet')
    _file(tmp_path, 'd.json', b'\xef\xbb\xbf' + json.dumps(rows, indent=1).encode())
    for path in sorted(tmp_path.iterdir()):
        found = _read(path, **knobs)
        assert _facts(found) == FACTS, path
        assert found[7].id == 'r7'
    assert len(_read(tmp_path, **knobs)) == 4 * len(rows), 'a folder is all its files'


@pytest.mark.parametrize('id', ['', ' ', None])
def test_an_empty_id_or_domain_is_none(tmp_path, id):
    record = {'id': id, 'text': dumps.text(1), 'domain': None}
    (review,) = _read(_file(tmp_path, 'own.jsonl', dumps.lines([record])))
    assert (review.id, review.domain) == ('own-1', '')


def test_texts_alone(tmp_path):
    """As in the yelp2 files: a label that is no rating, and no id."""
    content = json.dumps([{'label': 'positive', 'sentence': dumps.text(n)} for n in range(3)])
    found = _read(_file(tmp_path, 'two.json', content.encode()))
    assert [(r.id, r.rating) for r in found] == [('two-1', None), ('two-2', None), ('two-3', None)]


def test_texts_are_cleaned_measured_and_lower_cased_by_domain(tmp_path):
    long = dumps.text(0)
    texts = [f' {long}\r\n\n A&amp;B <br /> End ', 'short', long * 9, '', None, 7, '&#34;' + long]
    path = _file(tmp_path, 'a.jsonl', dumps.lines(dumps.yelp(0, text=text) for text in texts))
    dropped = Counter()
    found = _read(path, dropped, domain='computer')
    assert [r.text for r in found] == [f'{long} a&b end', f'"{long}']
    assert dropped == {'too short': 1, 'too long': 1, 'no text': 3}
    assert _read(path, domain='restaurant')[0].text == f'{long} A&B End'
    assert len(_read(path, min_characters=5, max_characters=5)) == 1, 'both ends are allowed'


def test_the_domain_may_be_a_column(tmp_path):
    records = [dumps.yelp(n, domain=d) for n, d in enumerate(['computer', 'hotel'])]
    found = _read(_file(tmp_path, 'a.jsonl', dumps.lines(records)), lower_case=('hotel',))
    assert [r.domain for r in found] == ['computer', 'hotel']


def test_ratings(tmp_path):
    values = [5, '4', 3.5, None, '']
    records = [dumps.yelp(n, stars=value) for n, value in enumerate(values)]
    dropped = Counter()
    found = _read(_file(tmp_path, 'a.jsonl', dumps.lines(records)), dropped)
    assert [r.rating for r in found] == [5.0, 4.0, 3.5]
    assert dropped == {'no rating': 2}


@pytest.mark.parametrize('value', [0, 6, -1, 'five', True, [5], float('nan'), '1e400'])
def test_a_rating_out_of_range_is_named(tmp_path, value):
    records = [dumps.yelp(0), dumps.yelp(1, stars=value)]
    with pytest.raises(UserError, match=r"a\.jsonl:2: expected 1 to 5 stars in 'stars'"):
        _read(_file(tmp_path, 'a.jsonl', dumps.lines(records)))


def test_half_a_character_and_a_nan_are_survived(tmp_path):
    odd = {'review_id': 'a\ud800', 'domain': 'b\ud800', 'useful': float('nan')}
    line = json.dumps(dumps.yelp(0, text=dumps.text(0) + ' \ud800', **odd))
    (found,) = _read(_file(tmp_path, 'a.jsonl', line.encode()))
    assert found.text.endswith(' ?')
    assert (found.id, found.domain) == ('a?', 'b?')


@pytest.mark.parametrize(
    ('name', 'content', 'said'),
    [
        ('a.jsonl', dumps.lines(RECORDS[:2]) + b'{"text": "cut', r'a\.jsonl:3: broken line'),
        ('a.jsonl', dumps.lines(RECORDS[:2]) + b'[1]\n', r'a\.jsonl:3: expected a JSON object'),
        ('a.jsonl', b'{"text": "caf\xe9"}\n', r'a\.jsonl:1: expected UTF-8'),
        ('a.json.gz', gzip.compress(dumps.lines(RECORDS))[:-20], r'a\.json\.gz is damaged'),
        ('a.json.gz', dumps.lines(RECORDS), r'a\.json\.gz is damaged'),
        ('a.csv', b'text,stars\nx\n', r'a\.csv:2: expected 2 columns'),
        ('a.parquet', b'nothing of the kind', r'a\.parquet is not readable as Parquet'),
        ('a.xml', b'<x/>', r"ends in '\.xml'"),
        ('a.jsonl', b'{"body": "x"}\n', r"none of the columns 'text'.*text_field.*'body'"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, said):
    with pytest.raises(UserError, match=said):
        _read(_file(tmp_path, name, content))


def test_a_column_that_is_not_there_comes_with_the_nearest(tmp_path):
    path = _file(tmp_path, 'a.jsonl', dumps.lines(RECORDS[:2]))
    for knob, name, near in (
        ('text_field', 'txt', 'text'),
        ('rating_field', 'star', 'stars'),
        ('id_field', 'reviewid', 'review_id'),
    ):
        said = f"no column '{name}' .ReviewsConfig.{knob}.*did you mean '{near}'"
        with pytest.raises(UserError, match=said):
            _read(path, **{knob: name})


def test_a_folder_without_reviews_and_none_at_all(tmp_path):
    with pytest.raises(UserError, match='holds no file that ends in'):
        _read(tmp_path)
    with pytest.raises(UserError, match='which does not exist'):
        _read(tmp_path / 'nowhere')

"""Readers of a user's own file: every row, in order, in constant memory."""

import csv
import datetime
import json
import math
import tracemalloc

import pyarrow
import pyarrow.parquet
import pytest

from fsa_jax.errors import UserError
from fsa_jax.evaluate.constraints import read_inventory
from fsa_jax.evaluate.inputs import read_rows

RECORDS = [
    {'key': 'a', 'review': 'Great, "fresh" pasta\nand wine', 'stars': 5},
    {'key': 'b', 'review': '   ', 'stars': 1},
    {'key': 'c', 'review': 'über 🍝', 'stars': 3},
]


def write(path, records):
    if path.suffix == '.jsonl':
        path.write_text(''.join(json.dumps(r) + '\n' for r in records), encoding='utf-8')
    elif path.suffix == '.csv':
        with open(path, 'w', encoding='utf-8-sig', newline='') as file:
            writer = csv.DictWriter(file, records[0])
            writer.writeheader()
            writer.writerows(records)
    elif path.suffix == '.parquet':
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    else:
        path.write_text(''.join(r['review'].replace('\n', ' ') + '\n' for r in records))
    return path


@pytest.mark.parametrize('suffix', ['.jsonl', '.csv', '.parquet'])
def test_columns_pass_through_in_order(tmp_path, suffix):
    rows = list(read_rows(write(tmp_path / f'in{suffix}', RECORDS), 'review', 'key'))
    assert [r.id for r in rows] == ['a', 'b', 'c']
    assert [r.text for r in rows] == [r['review'] for r in RECORDS]
    assert [r.flags for r in rows] == [(), ('empty',), ()]
    stars = ['5', '1', '3'] if suffix == '.csv' else [5, 1, 3]
    assert [r.extra for r in rows] == [{'stars': s} for s in stars]


def test_text_lines_are_numbered_from_one(tmp_path):
    path = tmp_path / 'in.txt'
    path.write_bytes('\ufeffone\r\n\r\nthree \u2028 still'.encode())
    rows = list(read_rows(path, 'ignored', 'ignored'))
    assert [(r.id, r.text, r.flags) for r in rows] == [
        ('1', 'one', ()),
        ('2', '', ('empty',)),
        ('3', 'three \u2028 still', ()),
    ]


def test_a_text_that_is_none_is_flagged_and_kept(tmp_path):
    path = tmp_path / 'in.jsonl'
    path.write_text('{"text": "a", "n": NaN}\n\n{"text": ["b"]}\n{"n": 1}\n{"text": "\\ud800 c"}')
    rows = list(read_rows(path, 'text'))
    assert [r.flags for r in rows] == [(), ('unreadable',), ('empty',), ()]
    assert [r.extra for r in rows] == [{'n': None}, {'text': ['b']}, {'n': 1}, {}]
    assert rows[3].text == '? c'


def test_parquet_values_become_json(tmp_path):
    values = {'text': 'a', 'day': datetime.date(2024, 5, 1), 'score': math.nan, 'list': [1.5, None]}
    row = next(read_rows(write(tmp_path / 'in.parquet', [values]), 'text'))
    assert row.extra == {'day': '2024-05-01', 'score': None, 'list': [1.5, None]}
    json.dumps(row.extra)


def test_text_that_parquet_holds_as_bytes_is_text(tmp_path):
    """Some writers do not mark a column of text as such."""
    record = {'text': 'über 🍝'.encode(), 'note': b'\xff!'}
    row = next(read_rows(write(tmp_path / 'in.parquet', [record]), 'text'))
    assert (row.text, row.flags, row.extra) == ('über 🍝', (), {'note': '\\xff!'})


def test_timestamps_of_pandas_pass_through(tmp_path):
    """They have nanoseconds, which Python's datetime has not."""
    nanoseconds = pyarrow.array([1_234_567_890_123_456_789], pyarrow.timestamp('ns'))
    table = pyarrow.table({'text': ['a'], 'when': nanoseconds})
    pyarrow.parquet.write_table(table, tmp_path / 'in.parquet')
    (row,) = read_rows(tmp_path / 'in.parquet', 'text')
    assert row.extra == {'when': '2009-02-13 23:31:30.123456789'}


@pytest.mark.parametrize(
    ('values', 'type'),
    [
        ([1], pyarrow.duration('ns')),
        ([{'at': 1}], pyarrow.struct([('at', pyarrow.timestamp('ns'))])),
        ([253_402_300_800], pyarrow.timestamp('s')),
    ],
)
def test_a_column_that_python_cannot_hold_is_named(tmp_path, values, type):
    table = pyarrow.table({'text': ['a'], 'when': pyarrow.array(values, type)})
    pyarrow.parquet.write_table(table, tmp_path / 'in.parquet')
    with pytest.raises(
        UserError, match=r"in\.parquet: column 'when' has a value that cannot be read"
    ):
        list(read_rows(tmp_path / 'in.parquet', 'text'))


def test_an_inventory_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / 'categories.txt'
    path.write_bytes('food quality\nFOOD#QUALITY\n\nambience'.encode('utf-8-sig'))
    assert read_inventory([str(path)]) == ('food quality', 'ambience')
    path.write_bytes('fine\ncafé quality\n'.encode('latin1'))
    with pytest.raises(UserError, match=r'categories\.txt:2: expected UTF-8'):
        read_inventory([str(path)])


def test_a_column_without_a_name_passes_through(tmp_path):
    """As pandas writes its index."""
    path = tmp_path / 'in.csv'
    path.write_text(',text\n7,a\n')
    (row,) = read_rows(path, 'text')
    assert (row.id, row.extra) == ('1', {'': '7'})


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('in.doc', b'a', r"ends in '.doc'; expected one of .txt, .jsonl, .csv, .parquet"),
        ('in.txt', b'', 'no rows'),
        ('in.csv', b'text,b\n', 'no rows'),
        ('in.csv', b'txt,b\n1,2\n', r"no column 'text' \(PredictConfig.text_field\).*mean 'txt'"),
        ('in.csv', b'text,b\n1,2\n"a\nb",2,3\n', r'in.csv:4: expected 2 columns.*got 3'),
        ('in.csv', b'text,text\n1,2\n', "in.csv:1: column 'text' stands twice"),
        ('in.csv', b'text\n"open', 'in.csv:2: not readable as CSV'),
        ('in.jsonl', b'{"text": "a"}\n{"text": \n', 'in.jsonl:2: expected one JSON object'),
        ('in.jsonl', b'[1]\n', 'in.jsonl:1: expected a JSON object; got list'),
        (
            'in.jsonl',
            b'{"x":' + b'[' * 10**5 + b']' * 10**5 + b'}',
            'in.jsonl:1: expected one JSON',
        ),
        ('in.txt', b'fine\n\xff\n', 'in.txt:2: expected UTF-8'),
        ('in.parquet', b'PAR1 no', 'not readable as Parquet'),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        list(read_rows(tmp_path / name, 'text'))
    assert '\n' not in str(error.value)


def test_a_field_of_any_length_is_read(tmp_path):
    records = [{'text': 'x' * 300_000, 'b': 1}]
    (row,) = read_rows(write(tmp_path / 'in.csv', records), 'text')
    assert len(row.text) == 300_000


@pytest.mark.parametrize('suffix', ['.txt', '.jsonl', '.csv', '.parquet'])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
    def peak(count):
        records = [{'review': f'row {i} ' * 10, 'n': i} for i in range(count)]
        path = write(tmp_path / f'{count}{suffix}', records)
        del records
        tracemalloc.start()
        assert sum(1 for _ in read_rows(path, 'review')) == count
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(100)  # imports
    assert peak(20_000) < 1.5 * peak(2_000) + 100_000

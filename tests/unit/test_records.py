"""Records as JSON lines: there and back, and what a bad line gets."""

import json

import pytest

from fsa_jax.errors import UserError
from fsa_jax.records import (
    CorpusExample,
    Generation,
    Opinion,
    Prediction,
    from_json,
    read_jsonl,
    to_json,
    write_jsonl,
)

EXAMPLE = CorpusExample(
    'r1',
    'kitchen',
    None,
    'analysis',
    'it boils.',
    'Opinion …',
    (Opinion('it', 'Speed'),),
    ('meta',),
)
ROW = Prediction('1', 's', 'p', gold=None, subsets=('normal',), extra={'labels': ['a', 2, None]})


def test_a_record_comes_back_as_it_was(tmp_path):
    for record in (EXAMPLE, ROW, Generation('1', 'analysis', 'i', 'o', rating=4.0)):
        assert from_json(type(record), to_json(record), 'x') == record
    path = tmp_path / 'x.jsonl'
    assert write_jsonl(path, [EXAMPLE] * 2) == 2
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n\n'))
    assert list(read_jsonl(CorpusExample, path)) == [EXAMPLE] * 2


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'id': 7}, "'id' must be str; got 7"),
        ({'rating': '4'}, "'rating' must be float or None; got '4'"),
        ({'rating': True}, "'rating' must be float or None; got True"),
        ({'flags': 'meta'}, "'flags' must be list of str; got 'meta'"),
        ({'flags': [1]}, "'flags' must be list of str; got [1]"),
        ({'opinions': [[]]}, "'opinions' must be list of Opinion; got [[]]"),
        ({'opinions': [{'target': None}]}, "'target' must be str; got None"),
        ({'opinions': [{}]}, 'not a Opinion: '),
        ({'colour': 1}, "not a CorpusExample: unknown field 'colour'"),
    ],
)
def test_a_field_of_another_type_is_named_with_its_line(tmp_path, change, said):
    path = tmp_path / 'x.jsonl'
    bad = json.loads(to_json(EXAMPLE)) | change
    path.write_text(f'{to_json(EXAMPLE)}\n{json.dumps(bad)}\n', 'utf-8')
    with pytest.raises(UserError) as told:
        list(read_jsonl(CorpusExample, path))
    assert str(told.value).startswith(f'{path}:2: {said}')


@pytest.mark.parametrize('line', ['{"id": ', '[1]', '7', '9' * 5000])
def test_a_line_that_is_no_object_is_one_line(line):
    with pytest.raises(UserError, match=r'^file:9: expected') as told:
        from_json(Generation, line, 'file:9')
    assert '\n' not in str(told.value)

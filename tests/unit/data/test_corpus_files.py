"""Teacher answers in every form that is published, and in our own."""

import json
from collections import Counter

import pytest

from fsa_jax import records
from fsa_jax.data.corpus_files import (
    corpus_root,
    read_answers,
    read_generations,
    split_names,
    to_generation,
)
from fsa_jax.errors import UserError

ANALYSIS = 'Opinion Target 1: "soup"\nAspect: taste\nSentiment: Positive\nReasoning: It is praised.'


def write_lines(path, rows, bom=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ''.join(json.dumps(row) + '\n' for row in rows)
    path.write_text(text, encoding='utf-8-sig' if bom else 'utf-8')


@pytest.mark.parametrize(
    ('record', 'expected'),
    [
        (
            {'ID': 3, 'Text': 'Good soup.', 'Overall': 4.0, 'mixtral_response': ANALYSIS},
            ('3', 'analysis', 'Good soup.', ANALYSIS, 4.0, 'mixtral'),
        ),
        (
            {'Text': 'Good soup.', 'chatgpt_response': ' I love it.'},
            ('a.json:5', 'rewriting', 'Good soup.', ' I love it.', None, 'chatgpt'),
        ),
        (
            {'input_text': 'Good soup.', 'prompt': 'Rewrite: ', 'output_text': 'I love it.'},
            ('a.json:5', 'rewriting', 'Rewrite: Good soup.', 'I love it.', None, ''),
        ),
        (
            {'prompt': 'P ', 'Text': 'Soup.', 'extracted_llama_response': 'x'},
            ('a.json:5', 'rewriting', 'P Soup.', 'x', None, 'llama'),
        ),
        (
            {'prompt': 'P ', 'Text': 'Soup.', 'llama2_response': ANALYSIS},
            ('a.json:5', 'analysis', 'P Soup.', ANALYSIS, None, 'llama2'),
        ),
        (
            {'id': 'r1', 'kind': 'rewriting', 'input': 'Soup.', 'output': ANALYSIS, 'teacher': 't'},
            ('r1', 'rewriting', 'Soup.', ANALYSIS, None, 't'),
        ),
        (
            {'id': 1, 'input': 'Soup.', 'output': 'x', 'rating': 4},
            ('1', 'rewriting', 'Soup.', 'x', 4.0, ''),
        ),
    ],
)
def test_every_published_record(record, expected):
    g = to_generation(record, '/some/a.json:5')
    assert (g.id, g.kind, g.input, g.output, g.rating, g.teacher) == expected


@pytest.mark.parametrize(
    'record',
    [
        {'id': '1', 'kind': 'rewriting', 'input': 'soup \ud83d', 'output': 'a \udc4d'},
        {'ID': '1', 'Text': 'soup \ud83d', 'prompt': 'P \ud83d ', 'm_response': 'a \udc4d'},
        {'id': '1', 'kind': 'rewriting', 'input': 'soup \ud83d', 'target': 'a \udc4d', 'domain': '', 'rating': None},
    ],
)  # fmt: skip
def test_halves_of_characters_become_question_marks(tmp_path, record):
    """JSON can escape them; UTF-8, TensorFlow and TFDS cannot hold them."""
    write_lines(tmp_path / 'train.jsonl', [record])
    [(answer, review)] = read_answers(tmp_path)
    assert (answer.input.removeprefix('P ? '), answer.output, review) == ('soup ?', 'a ?', 'soup ?')
    both = [g for s in ('train', 'validation') for g in read_generations(tmp_path, s)]
    assert both == [answer]


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ({'Text': 'a'}, 'missing field'),
        ({'mixtral_response': 'a'}, 'missing field'),
        ({'Text': 'a', 'mixtral_response': None}, "'mixtral_response' must be text, got None"),
        ({'Text': 'a', 'mixtral_response': 'b', 'Overall': 'good'}, "'Overall' must be a number"),
        ({'input': 'a', 'output': 'b', 'rating': 'good'}, "'rating' must be a number"),
        ({'input': 'a', 'output': 'b', 'kind': 'poem'}, "'kind' must be one of"),
        ({'input': 'a', 'output': 'b', 'colour': 1}, "unknown field 'colour'"),
    ],
)
def test_a_bad_record_is_named_with_its_place(record, message):
    with pytest.raises(UserError, match=f'^f.json:9: .*{message}'):
        to_generation(record, 'f.json:9')


def test_the_path_of_the_published_layout_tells_kind_and_domain(tmp_path):
    rewritten = {'ID': 1, 'Text': 'a', 'mixtral_response': ANALYSIS}  # the text says otherwise
    for kind in ('rewrite', 'analysis'):
        for domain in ('restaurant', 'computer'):
            name = f'{kind}/mixtral/{domain}/{domain}_20000_s12421_v0_bf16.json'
            write_lines(tmp_path / name, [rewritten])
    found = list(read_generations(tmp_path, validation_fraction=0.0))
    assert Counter((g.kind, g.domain) for g in found) == {
        (kind, domain): 1
        for kind in ('analysis', 'rewriting')
        for domain in ('restaurant', 'computer')
    }
    one_file = tmp_path / 'rewrite/mixtral/computer/computer_20000_s12421_v0_bf16.json'
    assert next(read_generations(one_file)).kind == 'rewriting'
    assert len(list(read_generations(tmp_path, kind='analysis', validation_fraction=0.0))) == 2


def test_a_folder_named_analysis_elsewhere_in_the_path_tells_nothing(tmp_path):
    root = tmp_path / 'analysis' / 'work'
    write_lines(root / 'answers.json', [{'Text': 'a', 'gpt_response': 'I loved it.'}])
    assert next(read_generations(root, validation_fraction=0.0)).kind == 'rewriting'


@pytest.mark.parametrize('above', ['analysis/proj', 'rewrite/data', 'rewrite/data/restaurant'])
def test_folders_above_a_corpus_drop_nothing(tmp_path, above):
    """Domains as folders, as the published layout has them, below folders of the user's own."""
    root = tmp_path / above / 'corpus'
    rows = [{'Text': 'a', 'm_response': 'I loved it.'}, {'Text': 'b', 'm_response': ANALYSIS}]
    write_lines(root / 'restaurant/answers.json', rows)
    for kind in ('analysis', 'rewriting'):
        for path in (root, root / 'restaurant/answers.json'):
            (one,) = read_generations(path, kind=kind, validation_fraction=0.0)
            assert one.kind == kind
    assert {answer.kind for answer, _ in read_answers(root)} == {'analysis', 'rewriting'}


@pytest.mark.parametrize('name', ['analysis/a.jsonl', 'analysis/m/restaurant/a.jsonl'])
def test_a_path_does_not_hide_a_record_that_names_its_kind(tmp_path, name):
    rewriting = {'id': '1', 'kind': 'rewriting', 'input': 'a', 'output': 'I loved it.'}
    published = {'ID': 2, 'kind': 'rewriting', 'Text': 'b', 'm_response': 'I loved it.'}
    write_lines(tmp_path / name, [rewriting, published])
    found = list(read_generations(tmp_path, kind='rewriting', validation_fraction=0.0))
    assert [(g.id, g.kind) for g in found] == [('1', 'rewriting'), ('2', 'rewriting')]
    assert not list(read_generations(tmp_path, kind='analysis', validation_fraction=0.0))


def test_the_last_folder_of_the_published_layout_is_still_told_by_its_path(tmp_path):
    for folder, kind in {'analysis': 'analysis', 'rewrite': 'rewriting'}.items():
        leaf = tmp_path / folder / 'mixtral/computer'
        write_lines(leaf / 'a.json', [{'Text': 'a', 'mixtral_response': 'x'}])
        for root in (leaf, tmp_path / folder):
            (one,) = read_generations(root, validation_fraction=0.0)
            assert (one.kind, one.domain) == (kind, 'computer')


def test_our_own_corpus_folder_has_its_splits(tmp_path):
    for split in ('train', 'validation'):
        rows = [records.Generation(f'{split}{i}', 'analysis', f'r{i}', 'out') for i in range(3)]
        records.write_jsonl(tmp_path / f'{split}-00000-of-00001.jsonl', rows)
    for other in ('manifest.json', '.partial/train.jsonl'):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_text('{}')
    assert [g.id for g in read_generations(tmp_path, 'train')] == ['train0', 'train1', 'train2']
    assert next(g.id for g in read_generations(tmp_path, 'validation')) == 'validation0'
    assert split_names(tmp_path) == ['train', 'validation']


def test_both_answers_to_a_review_fall_on_one_side_of_the_split(tmp_path):
    rows = [{'ID': i, 'Text': f'review {i}', 'm_response': 'I like it.'} for i in range(400)]
    write_lines(tmp_path / 'rewritings.json', rows)
    write_lines(tmp_path / 'analyses.json', [{**r, 'm_response': ANALYSIS} for r in rows])

    def read(split, kind):
        return [g.id for g in read_generations(tmp_path, split, kind, 0.1)]

    held = read('validation', 'analysis')
    assert held == read('validation', 'rewriting')
    assert 20 < len(held) < 60
    assert sorted(held + read('train', 'analysis')) == sorted(str(i) for i in range(400))


def test_a_folder_without_answers_is_said(tmp_path):
    with pytest.raises(UserError, match=r'no .json or .jsonl files'):
        list(read_generations(tmp_path))


def test_where_answers_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv('FSA_DATA_DIR', raising=False)
    with pytest.raises(UserError, match=r'^no teacher answers: set PackConfig\.corpus'):
        corpus_root()
    monkeypatch.setenv('FSA_DATA_DIR', str(tmp_path))
    with pytest.raises(UserError, match=rf'at {tmp_path}/corpus; set PackConfig\.corpus'):
        corpus_root()
    (tmp_path / 'corpus').mkdir()
    assert corpus_root() == corpus_root(data_dir=tmp_path) == tmp_path / 'corpus'
    assert corpus_root(tmp_path / 'corpus', '/nowhere') == tmp_path / 'corpus'


@pytest.mark.data
def test_the_real_answers(shared):
    found = list(read_generations(shared / 'data/corpus/mixtral_250.json', validation_fraction=0.0))
    assert Counter(g.kind for g in found) == {'rewriting': 134, 'analysis': 116}
    assert all(g.teacher == 'mixtral' and 1 <= g.rating <= 5 for g in found)
    assert all('\n' not in g.input for g in found)

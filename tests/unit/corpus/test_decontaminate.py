"""Words as they are compared, and benchmark sentences inside reviews."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from fsa_jax.corpus.decontaminate import SHORT, Benchmark, read_benchmark
from fsa_jax.corpus.words import words
from fsa_jax.errors import UserError

LONG = 'The waiter brought us somebody else’s soup.'
BRIEF = 'I love this place!'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ("Don't  WAIT_here!", ['don', 't', 'wait', 'here']),
        ('Ｆｕｌｌ ﬁne', ['full', 'fine']),  # NFKC
        ('CAFÉ, 5\u00a0stars', ['café', '5', 'stars']),
        ('&quot;so&quot; good &amp; cheap', ['so', 'good', 'cheap']),
        (' …! ', []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.text(st.characters(max_codepoint=127)))
def test_the_fast_way_for_ascii_is_the_general_one(text):
    assert words(text) == words(text + ' ☃')


@pytest.mark.parametrize(
    ('review', 'found'),
    [
        (f'We sat down. {LONG} We left.', True),
        (f'WE SAT DOWN; {LONG.upper()} we left', True),
        ("we sat: the waiter, brought us 'somebody' else's soup", True),
        ('The waiter brought us somebody else’s soups.', False),
        ('The kind waiter brought us somebody soup', False),
        (BRIEF, True),
        ('i LOVE this place', True),
        (f'{BRIEF} So do my kids.', False),
        ('', False),
    ],
)
def test_a_sentence_is_found_by_its_words(review, found):
    assert (Benchmark([LONG, BRIEF, '...']).find(words(review)) is not None) is found


def test_six_words_are_the_least_that_count_inside_a_review():
    found = Benchmark(['one two three four five six', 'seven eight nine ten eleven']).find
    assert found(words('so: one two three four five six, or'))
    assert not found(words('so: seven eight nine ten eleven, or'))


WORD = st.sampled_from(['a', 'b', 'c', 'd', 'ab', 'ba'])
SENTENCE = st.lists(WORD, min_size=1, max_size=9)


@given(st.lists(SENTENCE, max_size=5), st.lists(WORD, max_size=30))
@example([['a', 'b', 'a', 'b', 'a', 'b', 'c']], ['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b', 'c'])
def test_finding_agrees_with_looking_at_every_place(sentences, review):
    def inside(s):
        runs = (review[i : i + len(s)] for i in range(len(review) - len(s) + 1))
        return review == s if len(s) < SHORT else s in runs

    found = Benchmark(map(' '.join, sentences)).find(review)
    assert (found is not None) == any(map(inside, sentences))
    assert found is None or inside(found.split())


def test_all_splits_of_a_folder_are_read(tmp_path):
    for split in ('train', 'hard_test'):
        record = {'ID': 1, 'sentence': f'{split} says that the soup was cold', 'aspects': []}
        (tmp_path / f'{split}.json').write_text(json.dumps([record]), 'utf-8-sig')
    (tmp_path / 'more.csv').write_text('text\n"the table, by the door, was not clean"\n')
    found = read_benchmark([tmp_path])
    assert found.size == 3
    for text in ('hard test says that the soup was cold', 'the table by the door was not clean'):
        assert found.find(words(f'x {text} y'))
    with pytest.raises(UserError, match=r'ReviewsConfig\.benchmarks: .*nowhere'):
        read_benchmark([tmp_path, tmp_path / 'nowhere'])


@pytest.mark.parametrize('content', ['[]', '[{"sentence": null}]', '[{"sentence": "…"}]'])
def test_a_benchmark_without_a_sentence_is_one_line(tmp_path, content):
    (tmp_path / 'test.json').write_text(content)
    with pytest.raises(
        UserError, match=r'ReviewsConfig\.benchmarks: .*test\.json holds no sentence'
    ):
        read_benchmark([tmp_path / 'test.json'])

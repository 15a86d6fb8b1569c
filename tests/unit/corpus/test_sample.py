"""`fsa sample` as a user runs it: what is drawn, what is said, and what a bad input gets."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from fsa_jax import cli, manifest
from fsa_jax.corpus import analysis
from fsa_jax.corpus.reviews import read_reviews
from fsa_jax.records import Generation, Opinion, write_jsonl
from tests.unit.corpus import dumps


@pytest.fixture(scope='module')
def yelp(tmp_path_factory):
    """4,000 reviews in Yelp's form."""
    path = tmp_path_factory.mktemp('yelp') / 'reviews.json'
    path.write_bytes(dumps.lines(map(dumps.yelp, range(4000))))
    return path


@pytest.fixture(autouse=True)
def _no_benchmarks(monkeypatch):
    monkeypatch.delenv('FSA_DATA_DIR', raising=False)


def _sample(path, output, **knobs):
    """Runs the stage; the exit status."""
    given = [f'--gin.ReviewsConfig.{name}={value}' for name, value in knobs.items()]
    return cli.main(['sample', str(path), *given, f'--output={output}'])


def _drawn(path, output, **knobs):
    assert _sample(path, output, **knobs) == 0
    return list(read_reviews(output))


def _set_aside(folder):
    lines = (folder / 'set_aside.jsonl').read_text('utf-8').splitlines()
    return [json.loads(line) for line in lines]


def _stars(reviews):
    return [Counter(review.rating for review in reviews)[float(stars)] for stars in range(1, 6)]


def test_weights_uniform_and_quotas(yelp, tmp_path):
    natural = _stars(_drawn(yelp, tmp_path / 'all', size=4000, rating_weights='(1,1,1,1,1)'))
    weighted = _drawn(yelp, tmp_path / 'weights', size=500)
    mass = [n * w for n, w in zip(natural, (1, 2, 4, 2, 1))]
    for found, share in zip(_stars(weighted), mass):
        assert abs(found - 500 * share / sum(mass)) < 1
    assert _stars(_drawn(yelp, tmp_path / 'uniform', size=500, balance='uniform')) == [100] * 5
    quotas = {'balance': 'quotas', 'quotas': '(5,0,7,0,1)'}
    assert _stars(_drawn(yelp, tmp_path / 'quotas', **quotas)) == [5, 0, 7, 0, 1]
    assert manifest.read(tmp_path / 'quotas')['counts']['reviews'] == 13


def test_the_first_reviews_are_a_smaller_sample(yelp, tmp_path):
    reviews = _drawn(yelp, tmp_path / 'a', size=1000)
    for found, whole in zip(_stars(reviews[:100]), _stars(reviews)):
        assert abs(found - whole / 10) <= 1


def test_the_same_input_and_seed_give_the_same_bytes_in_any_order(yelp, tmp_path):
    lines = yelp.read_bytes().splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    (tmp_path / 'shuffled.json').write_bytes(b''.join(lines))
    one, other = tmp_path / 'one', tmp_path / 'other'
    _sample(yelp, one, size=300)
    _sample(tmp_path / 'shuffled.json', other, size=300)
    assert (one / 'reviews.jsonl').read_bytes() == (other / 'reviews.jsonl').read_bytes()
    seeded = _drawn(yelp, tmp_path / 'seeded', size=300, seed=1)
    assert len({r.id for r in seeded} & {r.id for r in read_reviews(one)}) < 100


def test_a_larger_sample_of_the_same_seed_holds_the_smaller(yelp, tmp_path):
    small, large = (_drawn(yelp, tmp_path / str(n), size=n) for n in (200, 700))
    assert {r.id for r in small} < {r.id for r in large}


def test_duplicates_near_duplicates_and_benchmark_sentences_are_dropped(tmp_path, capsys):
    text = [dumps.text(number, length=60) for number in range(20)]
    sentence = 'the soup was cold and nobody said so'
    records = [dumps.yelp(n, text=t, stars=3.0) for n, t in enumerate(text)]
    records += [dumps.yelp(30, text=text[0].upper() + ' !'), dumps.yelp(31, text=text[1] + ' too')]
    records.append(
        dumps.yelp(32, text=f'{text[2]} The soup was COLD; and nobody said so! {text[3]}')
    )
    (tmp_path / 'reviews.json').write_bytes(dumps.lines(records))
    (tmp_path / 'test.json').write_text(json.dumps([{'sentence': sentence}]))
    drawn = _drawn(
        tmp_path / 'reviews.json', tmp_path / 'out', size=0, benchmarks=tmp_path / 'test.json'
    )
    assert len(drawn) == 20
    assert {'r0', 'r2', 'r3'} < {review.id for review in drawn}
    assert len({'r1', 'r31'} & {review.id for review in drawn}) == 1
    aside = _set_aside(tmp_path / 'out')
    assert [(record['id'], record['sentence']) for record in aside] == [('r32', sentence)]
    counts = manifest.read(tmp_path / 'out')['counts']
    assert counts['dropped'] == {
        'exact duplicate': 1, 'holds a benchmark sentence (set aside)': 1,
    }  # fmt: skip
    assert (counts['read'], counts['passed'], counts['near_duplicates']) == (23, 21, 1)
    table = capsys.readouterr().out
    for row in ('exact duplicate', 'holds a benchmark sentence', 'near duplicate', 'drawn'):
        assert row in table


def test_benchmarks_are_found_where_all_stages_find_them(yelp, tmp_path, monkeypatch, capsys):
    _sample(yelp, tmp_path / 'without', size=10)
    assert 'not decontaminated' in capsys.readouterr().err
    folder = tmp_path / 'data' / 'fsa' / 'acsa' / 'lab'
    folder.mkdir(parents=True)
    (folder / 'dev.json').write_text(json.dumps([{'sentence': dumps.text(7)}]), 'utf-8-sig')
    monkeypatch.setenv('FSA_DATA_DIR', str(tmp_path / 'data'))
    _sample(yelp, tmp_path / 'with', size=10)
    assert 'not decontaminated' not in capsys.readouterr().err
    assert [record['id'] for record in _set_aside(tmp_path / 'with')] == ['r7']


def test_the_implicit_share_is_exact_by_cues_and_by_analysis(tmp_path, capsys):
    texts = [dumps.text(n) + ('. awful, rude. sad' if n % 5 else '') for n in range(400)]
    (tmp_path / 'reviews.json').write_bytes(
        dumps.lines(dumps.yelp(n, text=text) for n, text in enumerate(texts))
    )
    for share in (0.0, 0.25, 0.3):
        drawn = _drawn(
            tmp_path / 'reviews.json', tmp_path / f'{share}', size=90, implicit_share=share
        )
        assert sum('awful' not in review.text for review in drawn) == round(90 * share)
    said = capsys.readouterr().err
    assert 'implicit by the cue score: precision 0.' in said
    assert 'on a held-out seed of the lab' in ' '.join(said.split())
    said = Opinion('soup', 'taste', 'Negative', reasoning='It is implied.')
    answers = [Generation('', 'analysis', text, analysis.render([said])) for text in texts[:30]]
    plain = analysis.render([Opinion('soup', 'taste', 'Negative', reasoning='It says so.')])
    answers += [Generation('', 'analysis', text, plain) for text in texts[30:100]]
    write_jsonl(tmp_path / 'answers.jsonl', answers)
    drawn = _drawn(
        tmp_path / 'reviews.json', tmp_path / 'told', size=20, implicit_share=0.5,
        implicit_from=tmp_path / 'answers.jsonl',
    )  # fmt: skip
    assert sum(review.text in texts[:30] for review in drawn) == 10
    counts = manifest.read(tmp_path / 'told')['counts']
    assert counts['dropped'] == {'no opinions in the earlier analysis': 300}
    assert counts['implicit_labeller']['precision'] > 0.9


def test_near_duplicates_that_leave_too_few_are_named(tmp_path, capsys, monkeypatch):
    """Thirty reviews of which twenty say nearly the same."""
    base = dumps.text(0, length=60)
    texts = [f'{base} {dumps.NOUNS[n % 12]}{n}' for n in range(21)]
    texts += [dumps.text(n) for n in range(1, 10)]
    records = [dumps.yelp(n, text=text, stars=3.0) for n, text in enumerate(texts)]
    path = tmp_path / 'reviews.json'
    path.write_bytes(dumps.lines(records))
    assert _sample(path, tmp_path / 'out', size=12) == 2
    assert '12 reviews of 3 stars are asked for and 10 passed' in capsys.readouterr().err
    assert len(_drawn(path, tmp_path / 'ten', size=10)) == 10
    monkeypatch.setattr('fsa_jax.corpus.candidates._SPARE', 1)
    assert _sample(path, tmp_path / 'out', size=12) == 2
    assert 'near duplicates used up the candidates, 25' in capsys.readouterr().err


def test_ids_are_unique(tmp_path):
    records = [dumps.yelp(n, review_id='same', stars=3.0) for n in range(4)]
    (tmp_path / 'reviews.json').write_bytes(dumps.lines(records))
    drawn = _drawn(tmp_path / 'reviews.json', tmp_path / 'out', size=4)
    assert sorted(review.id for review in drawn) == ['same', 'same#2', 'same#3', 'same#4']


@pytest.mark.parametrize(
    ('knobs', 'said'),
    [
        ({'size': 5000}, 'passed all filters; ReviewsConfig.size='),
        ({'balance': 'quotas', 'quotas': '(9999,0,0,0,0)'}, '9,999 reviews of 1 star are asked'),
        ({'min_characters': 5000, 'max_characters': 6000},
         'all 4,000 reviews of .* are dropped; 4,000 of them: too short'),
        ({'text_field': 'txt'}, "did you mean 'text'"),
        ({'benchmarks': 'nowhere'}, 'ReviewsConfig.benchmarks: expected a file or folder'),
        ({'implicit_share': 0.5, 'implicit_from': 'nowhere'}, 'implicit_from: expected a file'),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(yelp, tmp_path, capsys, knobs, said):
    assert _sample(yelp, tmp_path / 'out', **knobs) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('fsa: ')
    assert re.search(said, error)
    assert list(tmp_path.iterdir()) == []


def test_no_reviews_at_all(tmp_path, capsys):
    (tmp_path / 'reviews.json').write_text('[]')
    assert _sample(tmp_path / 'reviews.json', tmp_path / 'out') == 2
    assert 'holds no reviews' in capsys.readouterr().err
    assert cli.main(['sample', f'--output={tmp_path / "out"}']) == 2
    assert 'ReviewsConfig.path is empty' in capsys.readouterr().err


def test_a_killed_run_leaves_nothing_and_is_run_again(tmp_path):
    path = tmp_path / 'pipe.json'
    path.write_bytes(dumps.lines(map(dumps.yelp, range(20_000))))
    command = [
        sys.executable, '-m', 'fsa_jax.cli', 'sample', str(path), f'--output={tmp_path / "out"}',
        '--gin.ReviewsConfig.size=100', '--gin.ReviewsConfig.near_duplicates=0.0',
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    partial = tmp_path / '.out.partial' / 'set_aside.jsonl'
    while not partial.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / 'out').exists()
    subprocess.run(command, check=True, capture_output=True)
    assert len(list(read_reviews(tmp_path / 'out'))) == 100
    assert not (tmp_path / '.out.partial').exists()


@pytest.mark.data
def test_real_reviews_end_to_end(shared, tmp_path, capsys):
    data = shared / 'data'
    drawn = _drawn(
        data / 'reviews' / 'yelp2_test.json', tmp_path / 'out', size=64, domain='restaurant',
        benchmarks=data / 'fsa', implicit_share=0.5,
    )  # fmt: skip
    assert len({review.text for review in drawn}) == 64
    assert all(100 <= len(review.text) <= 899 for review in drawn)
    counts = manifest.read(tmp_path / 'out')['counts']
    assert counts['read'] == 1000
    assert counts['implicit_reviews'] == 32
    assert sum(counts['dropped'].values()) + counts['passed'] == 1000
    assert 'holds a benchmark sentence' in capsys.readouterr().out

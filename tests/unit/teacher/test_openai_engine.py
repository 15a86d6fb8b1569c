"""The HTTP engine against a server that fails in every way it can."""

import json
import time

import httpx
import pytest

from fsa_jax import manifest
from fsa_jax.errors import Unreachable, UserError
from fsa_jax.records import Generation, Review, read_jsonl, write_jsonl
from fsa_jax.teacher import openai_engine
from fsa_jax.teacher.openai_engine import _retry_after
from tests.unit.teacher.conftest import content, teach
from tests.unit.teacher.fake_server import FakeServer

FAST = {'engine': 'openai', 'model': 'fake', 'retry_seconds': 0.01, 'kinds': ('analysis',)}
FAULTS = ['429', '500', '503', 'hang', 'truncated', 'reset', 'no json', 'other json', 'no gzip']


@pytest.fixture
def reviews(tmp_path):
    folder = tmp_path / 'reviews'
    folder.mkdir()
    write_jsonl(
        folder / 'reviews.jsonl', [Review(str(n), f'review number {n}.') for n in range(40)]
    )
    return str(folder)


def is_about(text, number):
    return f'number {number}.' in text


def texts(out):
    return [g.output for p in sorted(out.glob('part-*')) for g in read_jsonl(Generation, p)]


@pytest.fixture
def untroubled(reviews, tmp_path):
    with FakeServer() as server:
        return teach(tmp_path / 'untroubled', reviews=reviews, url=server.url, **FAST)


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_is_tried_again_and_nothing_is_lost(fault, reviews, tmp_path, untroubled):
    def faults(text, attempt):
        return fault if is_about(text, 7) and attempt < 2 else ''

    with FakeServer(faults) as server:
        out = teach(tmp_path / 'out', reviews=reviews, url=server.url, timeout_seconds=0.5, **FAST)
        assert [n for t, n in server.attempts.items() if is_about(t, 7)] == [3]
        assert sum(server.attempts.values()) == 42
    assert content(out) == content(untroubled)
    assert len(set(texts(out))) == 40


def test_pauses_grow_and_are_drawn_and_retry_after_is_kept(reviews, tmp_path):
    def faults(text, attempt):
        return ('500', '500', '500', 'retry after', '')[attempt] if is_about(text, 0) else ''

    with FakeServer(faults) as server:
        knobs = FAST | {'retry_seconds': 0.1, 'concurrency': 1}
        teach(tmp_path / 'out', reviews=reviews, url=server.url, **knobs)
        pauses = [b - a for a, b in zip(server.times[:5], server.times[1:5])]
    for pause, longest in zip(pauses[:3], (0.1, 0.2, 0.4)):
        assert longest / 2 <= pause < longest + 0.1
    assert pauses[3] >= 0.7


def test_concurrency_is_bounded_and_used(reviews, tmp_path):
    with FakeServer(lambda text, attempt: 'slow') as server:
        teach(tmp_path / 'out', reviews=reviews, url=server.url, concurrency=8, **FAST)
        assert server.most_under_way == 8


def test_what_is_sent(reviews, tmp_path):
    with FakeServer() as server:
        teach(
            tmp_path / 'out', reviews=reviews, url=server.url, json=True, max_tokens=99, temperature=0.3,
            top_p=0.9, stop=('END',), **FAST,
        )  # fmt: skip
        body = server.requests[0]
    assert (body['model'], body['max_tokens'], body['temperature']) == ('fake', 99, 0.3)
    assert (body['top_p'], body['stop']) == (0.9, ['END'])
    assert 'top_k' not in body
    assert body['messages'][-1]['role'] == 'user'
    held = body['response_format']['json_schema']
    assert held['strict']
    assert held['schema']['required'] == ['opinions']
    assert len({r['seed'] for r in server.requests}) == 40


def test_refused_requests_are_set_aside_with_what_the_server_said(reviews, tmp_path):
    def faults(text, attempt):
        return 'too long' if is_about(text, 3) else '422' if is_about(text, 4) else ''

    with FakeServer(faults) as server:
        out = teach(tmp_path / 'out', reviews=reviews, url=server.url, **FAST)
        assert sum(server.attempts.values()) == 40  # neither was tried again
    lines = (out / 'set_aside' / 'part-00000.jsonl').read_text().splitlines()
    aside = {a['review']: a for a in map(json.loads, lines)}
    assert {n: a['reason'] for n, a in aside.items()} == {'3': 'too_long', '4': 'refused'}
    assert 'fault 422' in aside['4']['detail']
    assert len(texts(out)) == 38


def test_one_request_that_always_fails_does_not_stop_the_others(reviews, tmp_path):
    def faults(text, attempt):
        return '500' if is_about(text, 5) else ''

    with FakeServer(faults) as server:
        out = teach(tmp_path / 'out', reviews=reviews, url=server.url, retries=3, **FAST)
    counts = manifest.read(out)['counts']
    assert (counts['answered'], counts['set_aside/server_error']) == (39, 1)


def test_a_server_that_dies_is_one_line_and_the_run_goes_on_later(reviews, tmp_path, untroubled):
    with FakeServer() as server:
        server.faults = lambda text, attempt: 'reset' if len(server.attempts) > 20 else ''
        with pytest.raises(Unreachable, match='is the server up') as told:
            teach(tmp_path / 'out', reviews=reviews, url=server.url, retries=2, **FAST)
    assert len(str(told.value).splitlines()) == 1
    with FakeServer() as server:
        out = teach(tmp_path / 'out', reviews=reviews, url=server.url, **FAST)
        assert len(server.attempts) == 20  # what was answered is not asked again
    assert content(out) == content(untroubled)


def test_a_server_that_answers_nothing_leaves_no_folder(reviews, tmp_path):
    with FakeServer(lambda text, attempt: 'reset') as server, pytest.raises(UserError):
        teach(tmp_path / 'out', reviews=reviews, url=server.url, retries=0, **FAST)
    assert not (tmp_path / 'out').exists()  # the next run may have other knobs


@pytest.mark.parametrize(
    ('said', 'seconds'),
    [('7', 7), ('', 0), ('soon', 0), ('-3', 0), ('inf', 3600), ('1e30', 3600), ('nan', 0),
     ('Wed, 21 Oct 2015 07:28:00 GMT', 0), ('Wed, 21 Oct 2915 07:28:00 GMT', 3600)],
)  # fmt: skip
def test_how_long_a_server_makes_us_wait(said, seconds):
    assert _retry_after(httpx.Response(429, headers={'Retry-After': said})) == seconds


def test_no_server_at_all(reviews, tmp_path):
    with FakeServer() as server:
        url = server.url
    began = time.monotonic()
    with pytest.raises(Unreachable, match='ConnectError'):  # it may still load its model
        teach(tmp_path / 'out', reviews=reviews, url=url, **FAST)
    assert time.monotonic() - began < 10
    assert not (tmp_path / 'out').exists()


def test_a_wrong_model_names_those_that_are_served(reviews, tmp_path):
    with FakeServer() as server, pytest.raises(UserError, match='may be one of: fake'):
        teach(tmp_path / 'out', reviews=reviews, url=server.url, **FAST | {'model': 'other'})


def test_a_rate_limit_that_does_not_end_stops_the_run(reviews, tmp_path):
    def faults(text, attempt):
        return '429' if is_about(text, 9) else ''

    with FakeServer(faults) as server, pytest.raises(Unreachable, match='429'):
        teach(tmp_path / 'out', reviews=reviews, url=server.url, retries=2, **FAST)


@pytest.mark.parametrize(
    ('url', 'said'), [('http://127.0.0.1:port/v1', 'is no address'), ('localhost/v1', 'http://')]
)
def test_an_address_that_is_none_is_one_line(url, said, reviews, tmp_path):
    with pytest.raises(UserError, match=said) as told:
        teach(tmp_path / 'out', reviews=reviews, url=url, **FAST)
    assert told.value.status == 2


def test_an_address_of_something_else_is_bad_input(reviews, tmp_path, monkeypatch):
    def page(request):
        return httpx.Response(200 if request.method == 'GET' else 405, text='<html>')

    client = httpx.Client(base_url='http://host/v1/', transport=httpx.MockTransport(page))
    monkeypatch.setattr(openai_engine, '_client', lambda *_: client)
    with pytest.raises(UserError, match=r'check ServerConfig\.url') as told:
        teach(tmp_path / 'out', reviews=reviews, url='http://host/v1', **FAST)
    assert told.value.status == 2


@pytest.mark.parametrize('key', ['sk-very-secret\u2026', 'sk-very-secret\nsecond line'])
def test_a_key_that_no_header_can_hold_is_one_line_without_it(key, reviews, tmp_path, monkeypatch):
    monkeypatch.setenv('OPENAI_API_KEY', key)
    with FakeServer() as server, pytest.raises(UserError, match='OPENAI_API_KEY holds') as told:
        teach(tmp_path / 'out', reviews=reviews, url=server.url, **FAST)
    assert 'secret' not in str(told.value)


def test_the_key_is_sent_and_never_written_or_told(reviews, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv('OPENAI_API_KEY', 'sk-very-secret\n')

    def faults(text, attempt):
        return '422' if is_about(text, 2) else '500' if is_about(text, 6) and not attempt else ''

    with FakeServer(faults) as server:
        out = teach(tmp_path / 'out', reviews=reviews, url=server.url, **FAST)
        assert server.headers[0]['authorization'] == 'Bearer sk-very-secret'
        server.faults = lambda text, attempt: '401'
        with pytest.raises(UserError, match='refuses the key') as told:
            teach(tmp_path / 'other', reviews=reviews, url=server.url, **FAST)
    written = b''.join(p.read_bytes() for p in tmp_path.rglob('*') if p.is_file())
    assert b'fault 422 of Bearer ***' in written  # the server had said it
    for told_text in (written.decode(), str(told.value), *capfd.readouterr()):
        assert 'very-secret' not in told_text
    assert len(texts(out)) == 39


def test_a_key_at_the_end_of_a_long_message_is_not_cut_and_told(reviews, tmp_path, monkeypatch):
    monkeypatch.setenv('OPENAI_API_KEY', 'sk-very-secret')

    def faults(text, attempt):
        return '422 at length' if is_about(text, 2) else ''

    with FakeServer(faults) as server:
        out = teach(tmp_path / 'out', reviews=reviews, url=server.url, **FAST)
    told = (out / 'set_aside' / 'part-00000.jsonl').read_text()
    assert 'The key is' in told
    assert 'sk-' not in told


def test_an_answer_with_half_a_character_is_mended(reviews, tmp_path):
    def faults(text, attempt):
        return 'lone surrogate' if is_about(text, 1) else ''

    with FakeServer(faults) as server:
        out = teach(tmp_path / 'out', reviews=reviews, url=server.url, **FAST)
    assert texts(out)[1] == 'half \ufffd a face'

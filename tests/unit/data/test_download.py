"""Stage download against a local HTTP server: resume, retries, hashes, mirrors and clear errors."""

import dataclasses
import errno
import hashlib
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fsa_jax import manifest, stages
from fsa_jax.configs import DownloadConfig
from fsa_jax.data import catalogue, fetch
from fsa_jax.data.catalogue import GitHub, Hub
from fsa_jax.data.corpus_files import corpus_files
from fsa_jax.errors import UserError

BODY = bytes(range(256)) * 64
SHA256 = hashlib.sha256(BODY).hexdigest()
ETAG = '"v1"'


class Server:
    """Serves `files` under their paths; knobs make it misbehave. `requests` is what it saw."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.etag = ETAG
        self.ranges = True
        self.if_range = True  # whether If-Range is heeded
        self.shift = 0  # a range begins so many bytes before where it should
        self.statuses: list[int] = []  # answered first, in order, instead of a file
        self.truncate: list[int] = []  # the next bodies stop after so many bytes
        self.requests: list[tuple[str, dict[str, str]]] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {k.lower(): v for k, v in handler.headers.items()}
        self.requests.append((handler.path, headers))
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        path = handler.path.partition('?')[0]
        if path not in self.files:
            handler.send_error(404)
            return
        body, start = self.files[path], 0
        asked = headers.get('range', '').removeprefix('bytes=').rstrip('-')
        same = not self.if_range or headers.get('if-range', self.etag) == self.etag
        if asked and self.ranges and same:
            start = int(asked) - self.shift
            if start >= len(body):
                handler.send_error(416)
                return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        handler.send_header('Content-Length', str(len(body) - start))
        if self.etag:
            handler.send_header('ETag', self.etag)
        handler.end_headers()
        end = start + self.truncate.pop(0) if self.truncate else len(body)
        handler.wfile.write(body[start:end])

    @property
    def ranges_asked(self) -> list[str | None]:
        return [headers.get('range') for _, headers in self.requests]


@pytest.fixture
def server():
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        state.url = f'http://127.0.0.1:{http.server_port}'
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(fetch.time, 'sleep', lambda _: None)
    monkeypatch.delenv('HF_TOKEN', raising=False)
    monkeypatch.setenv('NETRC', os.devnull)


def download(folder, **knobs):
    stages.run('download', [DownloadConfig(timeout=5.0, **knobs)], folder)
    return manifest.read(folder)


def leftovers(folder):
    return [p.name for p in folder.rglob('*') if p.name.endswith(('.part', '.etag', '.tmp'))]


# ---------------------------------------------------------------------------------------------
# One file


def test_a_url_with_its_hash(tmp_path, server):
    server.files['/a/b.bin'] = BODY
    content = download(tmp_path / 'out', name=f'{server.url}/a/b.bin?x=1', sha256=SHA256)
    assert (tmp_path / 'out' / 'b.bin').read_bytes() == BODY
    assert content['files']['b.bin']['sha256'] == SHA256
    assert content['counts']['trusted_on_first_use'] == []
    assert not leftovers(tmp_path / 'out')


def test_an_unknown_hash_is_recorded_and_said(tmp_path, server, capsys):
    server.files['/b.bin'] = BODY
    content = download(tmp_path / 'out', name=f'{server.url}/b.bin')
    assert content['counts']['trusted_on_first_use'] == ['b.bin']
    assert f'no hash was known beforehand; recorded sha256 {SHA256}' in capsys.readouterr().err


def test_a_body_cut_short_is_resumed_where_it_stopped(tmp_path, server):
    server.files['/b.bin'] = BODY
    server.truncate = [1000, 2000]
    download(tmp_path / 'out', name=f'{server.url}/b.bin', sha256=SHA256)
    assert (tmp_path / 'out' / 'b.bin').read_bytes() == BODY
    assert server.ranges_asked == [None, 'bytes=1000-', 'bytes=3000-']
    assert server.requests[1][1]['if-range'] == ETAG


def test_a_later_run_resumes(tmp_path, server):
    """The first run stops after 1,000 bytes; its part is all that it leaves beside the job."""
    server.files['/b.bin'] = BODY
    server.truncate, server.statuses = [1000], []
    knobs = {'name': f'{server.url}/b.bin', 'sha256': SHA256}
    with pytest.raises(UserError, match='the same command resumes'):
        download(tmp_path / 'out', retries=0, **knobs)
    assert (tmp_path / 'out' / 'b.bin.part').stat().st_size == 1000
    assert not (tmp_path / 'out' / 'b.bin').exists()
    download(tmp_path / 'out', **knobs)  # retries are free to differ
    assert server.ranges_asked == [None, 'bytes=1000-']
    assert (tmp_path / 'out' / 'b.bin').read_bytes() == BODY
    with pytest.raises(manifest.AlreadyDone):
        download(tmp_path / 'out', **knobs)


def test_a_server_without_ranges_sends_it_all_again(tmp_path, server):
    server.files['/b.bin'] = BODY
    server.ranges, server.truncate = False, [1000]
    download(tmp_path / 'out', name=f'{server.url}/b.bin', sha256=SHA256)
    assert (tmp_path / 'out' / 'b.bin').read_bytes() == BODY


@pytest.mark.parametrize('sha256', ['', SHA256])
def test_a_file_that_changed_meanwhile_is_not_mixed(tmp_path, server, sha256):
    folder = tmp_path / 'out'
    server.files['/b.bin'] = b'old' * 5000
    server.truncate = [999]
    with pytest.raises(UserError):
        download(folder, name=f'{server.url}/b.bin', sha256=sha256, retries=0)
    server.files['/b.bin'], server.etag = BODY, '"v2"'
    download(folder, name=f'{server.url}/b.bin', sha256=sha256)
    assert (folder / 'b.bin').read_bytes() == BODY


def test_a_server_that_ignores_if_range_is_not_mixed(tmp_path, server):
    folder = tmp_path / 'out'
    server.files['/b.bin'], server.truncate = b'old' * 5000, [999]
    server.if_range = False
    with pytest.raises(UserError):
        download(folder, name=f'{server.url}/b.bin', retries=0)
    server.files['/b.bin'], server.etag = BODY, '"v2"'
    download(folder, name=f'{server.url}/b.bin', retries=0)
    assert (folder / 'b.bin').read_bytes() == BODY
    assert server.ranges_asked == [None, 'bytes=999-', None]


def test_a_range_from_another_place_is_not_appended(tmp_path, server):
    server.files['/b.bin'], server.truncate, server.shift = BODY, [1000], 100
    download(tmp_path / 'out', name=f'{server.url}/b.bin')
    assert (tmp_path / 'out' / 'b.bin').read_bytes() == BODY
    assert not leftovers(tmp_path / 'out')


@pytest.mark.parametrize('etag', ['', 'W/"weak"'])
def test_without_an_etag_only_a_known_hash_resumes(tmp_path, server, etag):
    server.files['/b.bin'], server.etag = BODY, etag
    server.truncate = [1000]
    download(tmp_path / 'known', name=f'{server.url}/b.bin', sha256=SHA256)
    assert server.ranges_asked == [None, 'bytes=1000-']
    server.requests.clear()
    server.truncate = [1000]
    download(tmp_path / 'unknown', name=f'{server.url}/b.bin')
    assert server.ranges_asked == [None, None]
    assert (tmp_path / 'unknown' / 'b.bin').read_bytes() == BODY


def test_a_part_of_something_else_is_fetched_anew(tmp_path, server):
    """Bytes of another file under the same name: the hash tells, and it starts over once."""
    server.files['/b.bin'], server.etag = BODY, ''
    fetcher = fetch.Fetcher(tmp_path, timeout=5, retries=1)
    (tmp_path / 'b.bin.part').write_bytes(b'x' * 100)
    with fetcher:
        assert fetcher.file(fetch.File('b.bin', f'{server.url}/b.bin', SHA256)) == SHA256
    assert server.ranges_asked == ['bytes=100-', None]


def test_a_file_that_was_damaged_since_is_fetched_again(tmp_path, server):
    server.files['/b.bin'] = BODY
    (tmp_path / 'b.bin').write_bytes(BODY[1:])
    with fetch.Fetcher(tmp_path, timeout=5, retries=1) as fetcher:
        fetcher.file(fetch.File('b.bin', f'{server.url}/b.bin', SHA256))
        fetcher.file(fetch.File('b.bin', f'{server.url}/b.bin', SHA256))
    assert (tmp_path / 'b.bin').read_bytes() == BODY
    assert len(server.requests) == 1


def test_a_part_that_is_whole_needs_no_more_bytes(tmp_path, server):
    server.files['/b.bin'] = BODY
    (tmp_path / 'b.bin.part').write_bytes(BODY)
    with fetch.Fetcher(tmp_path, timeout=5, retries=0) as fetcher:
        fetcher.file(fetch.File('b.bin', f'{server.url}/b.bin', SHA256))
    assert (tmp_path / 'b.bin').read_bytes() == BODY


def test_passing_failures_are_tried_again(tmp_path, server, capsys):
    server.files['/b.bin'] = BODY
    server.statuses = [500, 503, 429]
    download(tmp_path / 'out', name=f'{server.url}/b.bin', sha256=SHA256, retries=3)
    assert len(server.requests) == 4
    assert 'HTTP 503; trying again in 2 s' in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------
# One clear line


def test_tries_end(tmp_path, server):
    server.statuses = [500] * 9
    with pytest.raises(UserError, match='HTTP 500'):
        download(tmp_path / 'out', name=f'{server.url}/b.bin', retries=2)
    assert len(server.requests) == 3
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('status', 'message'), [(404, r'not found \(404\)'), (403, r'refused \(403\).*HF_TOKEN')]
)
def test_what_is_final_is_not_tried_again(tmp_path, server, status, message):
    server.statuses = [status] * 9
    with pytest.raises(UserError, match=message):
        download(tmp_path / 'out', name=f'{server.url}/b.bin')
    assert len(server.requests) == 1
    assert not (tmp_path / 'out').exists()


def test_a_wrong_hash_leaves_no_file(tmp_path, server):
    server.files['/b.bin'] = BODY
    with pytest.raises(UserError, match=f'has sha256 {SHA256}, expected {"0" * 64}'):
        download(tmp_path / 'out', name=f'{server.url}/b.bin', sha256='0' * 64)
    assert not (tmp_path / 'out').exists() or not any((tmp_path / 'out').glob('b.bin*'))


def test_no_network(tmp_path):
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        port = closed.getsockname()[1]
    with pytest.raises(UserError, match=r'is there a network.*DownloadConfig.mirror'):
        download(tmp_path / 'out', name=f'http://127.0.0.1:{port}/b.bin', retries=1)


def test_a_full_disk(tmp_path, server, monkeypatch):
    server.files['/b.bin'] = BODY
    usage = fetch.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(fetch.shutil, 'disk_usage', lambda _: usage._replace(free=10))
    with pytest.raises(UserError, match=r'only 0\.00 GB are free'):
        download(tmp_path / 'out', name=f'{server.url}/b.bin')


def test_a_disk_that_fills_up(tmp_path, server, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    server.files['/b.bin'] = BODY
    monkeypatch.setattr(fetch.os, 'fsync', full)
    with (
        pytest.raises(UserError, match='no space left on the disk'),
        fetch.Fetcher(tmp_path, timeout=5, retries=5) as fetcher,
    ):
        fetcher.file(fetch.File('b.bin', f'{server.url}/b.bin'))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ('knobs', 'message'),
    [
        ({'name': 't5-bas'}, "nothing is called 't5-bas' .did you mean 't5-base'"),
        ({'name': ''}, 'expected a URL or one of fsa-benchmark'),
        ({'name': 't5-base', 'sha256': 'x'}, 'DownloadConfig.sha256 goes with a URL'),
        ({'name': 't5-base', 'mirror': '/nowhere'}, 'must be an http.s. URL or a local folder'),
        ({'name': 'https://example.org'}, 'must be the URL of a file'),
        ({'name': 'http://[::1/b'}, 'DownloadConfig.name=.*Invalid'),
        (
            {'name': 't5-base', 'mirror': 'http://h/?key=1'},
            'mirror must be a base URL without a query',
        ),
    ],
)
def test_bad_knobs(tmp_path, knobs, message):
    with pytest.raises(UserError, match=message):
        download(tmp_path / 'out', **knobs)
    assert not (tmp_path / 'out').exists()


# ---------------------------------------------------------------------------------------------
# The catalogue


@pytest.fixture
def benchmark(monkeypatch):
    """The benchmark's entry with our own small files in place of the published ones."""
    bodies = {
        name: f'[{i}]'.encode() for i, name in enumerate(catalogue.CATALOGUE['fsa-benchmark'].files)
    }
    entry = catalogue.CATALOGUE['fsa-benchmark']
    files = {
        path: (source, hashlib.sha256(bodies[path]).hexdigest())
        for path, (source, _) in entry.files.items()
    }
    monkeypatch.setitem(
        catalogue.CATALOGUE, 'fsa-benchmark', dataclasses.replace(entry, files=files)
    )
    return {entry.files[path][0]: body for path, body in bodies.items()}


def test_the_benchmark_from_a_mirror(tmp_path, server, benchmark):
    base = f'/{catalogue.BENCHMARK}/{catalogue.BENCHMARK_REVISION}'
    server.files = {f'{base}/{source}': body for source, body in benchmark.items()}
    content = download(tmp_path / 'out', name='fsa-benchmark', mirror=server.url + '/')
    assert (tmp_path / 'out/fsa/acsa/rest16/train.json').is_file()
    assert content['counts']['files'] == 16
    assert content['counts']['revision'] == catalogue.BENCHMARK_REVISION
    assert not leftovers(tmp_path / 'out')


def test_another_revision_has_no_known_hashes(tmp_path, server, benchmark):
    server.files = {f'/{catalogue.BENCHMARK}/main/{source}': b'[]' for source in benchmark}
    content = download(tmp_path / 'out', name='fsa-benchmark', mirror=server.url, revision='main')
    assert len(content['counts']['trusted_on_first_use']) == 16


def test_a_local_folder(tmp_path, benchmark):
    for path, (source, _) in catalogue.CATALOGUE['fsa-benchmark'].files.items():
        (tmp_path / 'in' / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'in' / path).write_bytes(benchmark[source])
    download(tmp_path / 'out', name='fsa-benchmark', mirror=str(tmp_path / 'in'))
    assert (tmp_path / 'out/fsa/atsa/rest14/dev.json').is_file()
    assert str(tmp_path) not in json.dumps(manifest.read(tmp_path / 'out')['counts'])
    (tmp_path / 'in/fsa/atsa/rest14/dev.json').write_text('[changed]')
    with pytest.raises(UserError, match='expected'):
        download(tmp_path / 'again', name='fsa-benchmark', mirror=f'file://{tmp_path}/in')
    (tmp_path / 'in/fsa/atsa/rest14/dev.json').unlink()
    with pytest.raises(UserError, match=r'should hold fsa/atsa/rest14/dev\.json'):
        download(tmp_path / 'third', name='fsa-benchmark', mirror=str(tmp_path / 'in'))


def hub(server, name, files, sha='c0ffee', lfs=()):
    """Answers as the Hub does: the listing of a revision, and each file at its commit."""
    prefix = '' if name.startswith('datasets/') else 'models/'
    siblings = [
        {'rfilename': path, 'size': len(body)}
        | ({'lfs': {'sha256': hashlib.sha256(body).hexdigest()}} if path in lfs else {})
        for path, body in files.items()
    ]
    listing = json.dumps({'sha': sha, 'siblings': siblings}).encode()
    server.files = {f'/{name}/resolve/{sha}/{path}': body for path, body in files.items()}
    server.files[f'/api/{prefix}{name}/revision/main'] = listing


MODEL = {
    'config.json': b'{}',
    'spiece.model': b'pieces',
    'model.safetensors': BODY,
    'pytorch_model.bin': b'pickle',
    'onnx/model.safetensors': b'other',
    '.gitattributes': b'',
}


@pytest.fixture
def model_entry(monkeypatch):
    entry = dataclasses.replace(
        catalogue.CATALOGUE['t5-base'], repository='owner/t5', revision='main', sha256={}
    )
    monkeypatch.setitem(catalogue.CATALOGUE, 't5-base', entry)
    return entry


def test_a_model_of_the_hub(tmp_path, server, model_entry):
    hub(server, 'owner/t5', MODEL, lfs=['model.safetensors'])
    content = download(tmp_path / 'out', name='t5-base', mirror=server.url)
    files = content['files'].keys()
    assert files == {'config.json', 'spiece.model', 'model.safetensors'}
    assert content['counts']['revision'] == 'c0ffee'
    assert content['counts']['trusted_on_first_use'] == ['config.json', 'spiece.model']


def test_a_later_download_is_held_to_an_earlier_one(tmp_path, server, model_entry):
    """`main` moved on meanwhile: its commit of then is fetched, and a file that differs is refused."""
    hub(server, 'owner/t5', MODEL)
    first = download(tmp_path / 'first', name='t5-base', mirror=server.url)
    server.files['/api/models/owner/t5/revision/c0ffee'] = server.files.pop(
        '/api/models/owner/t5/revision/main'
    )
    knobs = {'name': 't5-base', 'mirror': server.url, 'again': str(tmp_path / 'first')}
    second = download(tmp_path / 'second', **knobs)
    assert second['counts']['revision'] == 'c0ffee'
    assert second['counts']['trusted_on_first_use'] == []
    assert second['files'] == first['files']
    server.files['/owner/t5/resolve/c0ffee/config.json'] = b'{"changed": 1}'
    with pytest.raises(UserError, match=r'config\.json has sha256 .*, expected'):
        download(tmp_path / 'third', **knobs)
    hub(server, 'owner/t5', MODEL | {'generation_config.json': b'{}'})
    with pytest.raises(UserError, match=r'generation_config\.json is only in one of'):
        download(tmp_path / 'fourth', revision='main', **knobs)
    with pytest.raises(UserError, match=r"no download of 't5-small', but of 't5-base'"):
        download(tmp_path / 'fifth', **knobs | {'name': 't5-small'})


def test_the_hash_that_the_hub_announces_is_held_against_the_file(tmp_path, server, model_entry):
    hub(server, 'owner/t5', MODEL, lfs=['model.safetensors'])
    server.files['/owner/t5/resolve/c0ffee/model.safetensors'] = BODY[::-1]
    with pytest.raises(UserError, match=f'model.safetensors has sha256 .*, expected {SHA256}'):
        download(tmp_path / 'out', name='t5-base', mirror=server.url)


def test_a_pinned_hash_wins_over_the_announced_one(tmp_path, server, model_entry, monkeypatch):
    pinned = dataclasses.replace(model_entry, revision='c0ffee', sha256={'config.json': '1' * 64})
    monkeypatch.setitem(catalogue.CATALOGUE, 't5-base', pinned)
    hub(server, 'owner/t5', MODEL)
    server.files['/api/models/owner/t5/revision/c0ffee'] = server.files.pop(
        '/api/models/owner/t5/revision/main'
    )
    with pytest.raises(UserError, match=f'expected {"1" * 64}'):
        download(tmp_path / 'out', name='t5-base', mirror=server.url)


def test_a_model_without_safetensors_is_refused_before_any_download(tmp_path, server, model_entry):
    hub(server, 'owner/t5', {k: v for k, v in MODEL.items() if k != 'model.safetensors'})
    with pytest.raises(UserError, match=r'no .*safetensors.*save_pretrained'):
        download(tmp_path / 'out', name='t5-base', mirror=server.url)
    assert len(server.requests) == 1


def test_the_corpus_keeps_its_folders(tmp_path, server):
    files = {
        'analysis/a/restaurant/x.json': b'1',
        'rewrite/b/computer/y.json': b'2',
        'README.md': b'3',
    }
    hub(server, catalogue.CATALOGUE['fsa-corpus'].repository, files)
    content = download(tmp_path / 'out', name='fsa-corpus', mirror=server.url)
    assert content['files'].keys() == files.keys()


def test_a_host_that_lists_files_outside_the_folder_is_refused(tmp_path, server):
    hub(server, catalogue.CATALOGUE['fsa-corpus'].repository, {'../../evil': b''})
    with pytest.raises(UserError, match='outside the output folder'):
        download(tmp_path / 'out', name='fsa-corpus', mirror=server.url)


@pytest.mark.parametrize('answer', [b'<html>log in</html>', b'[]'])
def test_a_host_that_is_no_hub(tmp_path, server, model_entry, answer):
    server.files['/api/models/owner/t5/revision/main'] = answer
    with pytest.raises(UserError, match=r'DownloadConfig\.mirror'):
        download(tmp_path / 'out', name='t5-base', mirror=server.url)


def test_a_model_from_a_local_folder(tmp_path, model_entry):
    for path, body in MODEL.items():
        (tmp_path / 'in' / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'in' / path).write_bytes(body)
    content = download(tmp_path / 'out', name='t5-base', mirror=str(tmp_path / 'in'))
    assert content['files'].keys() == {'config.json', 'spiece.model', 'model.safetensors'}


def test_a_local_folder_at_another_revision_has_no_known_hashes(tmp_path, model_entry, monkeypatch):
    entry = dataclasses.replace(model_entry, revision='c0ffee', sha256={'config.json': '1' * 64})
    monkeypatch.setitem(catalogue.CATALOGUE, 't5-base', entry)
    (tmp_path / 'in').mkdir()
    for name in ('config.json', 'model.safetensors'):
        (tmp_path / 'in' / name).write_bytes(MODEL[name])
    knobs = {'name': 't5-base', 'mirror': str(tmp_path / 'in')}
    with pytest.raises(UserError, match=f'expected {"1" * 64}'):
        download(tmp_path / 'out', **knobs)
    counts = download(tmp_path / 'out', revision='beef', **knobs)['counts']
    assert (counts['revision'], len(counts['trusted_on_first_use'])) == ('beef', 2)


def test_an_earlier_download_is_a_mirror(tmp_path, server):
    """Its manifest and config are of that download, not of the corpus."""
    files = {'analysis/a/restaurant/x.json': b'1', 'sub/manifest.json': b'2'}
    hub(server, catalogue.CATALOGUE['fsa-corpus'].repository, files)
    download(tmp_path / 'first', name='fsa-corpus', mirror=server.url)
    again = download(tmp_path / 'second', name='fsa-corpus', mirror=str(tmp_path / 'first'))
    assert again['files'].keys() == files.keys()
    assert again['counts']['files'] == 2


def test_a_token_goes_to_the_hub_alone(monkeypatch):
    monkeypatch.setenv('HF_TOKEN', 'secret')
    assert fetch._authorization('https://huggingface.co/a/b') == {'Authorization': 'Bearer secret'}
    assert fetch._authorization('https://mirror.example/a/b') == {}
    assert fetch._authorization('http://huggingface.co/a/b') == {}


@pytest.mark.parametrize('knob', ['name', 'mirror'])
def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path, knob):
    knobs = {'name': 't5-base'} | {knob: "https://bob:s3'cret@host.example/a.bin"}
    with pytest.raises(UserError, match=rf'DownloadConfig\.{knob} .* ~/\.netrc') as caught:
        download(tmp_path / 'out', **knobs)
    assert 's3' not in str(caught.value)
    assert not (tmp_path / 'out').exists()


def test_a_mirror_gets_its_own_password_from_netrc(tmp_path, server, monkeypatch):
    server.files['/b.bin'] = BODY
    (tmp_path / 'netrc').write_text('machine 127.0.0.1 login bob password s3cret\n')
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))
    content = download(tmp_path / 'out', name='https://host.example/b.bin', mirror=server.url)
    assert server.requests[0][1]['authorization'] == 'Basic Ym9iOnMzY3JldA=='
    assert content['counts']['urls'] == {}
    assert 's3cret' not in json.dumps(content)
    assert fetch._authorization('https://other.example/a') == {}
    (tmp_path / 'netrc').write_text('machine a login bob\ns3cret\n')
    with pytest.raises(UserError, match=r'netrc:\d+: not the form of a netrc file$'):
        fetch._authorization('https://other.example/a')


def test_the_key_of_a_signed_link_is_neither_recorded_as_source_nor_printed(
    tmp_path, server, capsys
):
    server.files['/b.bin'], server.statuses = BODY, [500]
    content = download(tmp_path / 'out', name=f'{server.url}/b.bin?sig=s3cret#x')
    assert content['counts']['urls'] == {'b.bin': f'{server.url}/b.bin'}
    with pytest.raises(UserError, match='404') as caught:
        download(tmp_path / 'none', name=f'{server.url}/none?sig=s3cret')
    assert 's3cret' not in str(caught.value) + capsys.readouterr().err


def test_every_entry_is_well_formed():
    for name, entry in catalogue.CATALOGUE.items():
        assert name in catalogue.describe()
        hashes = (
            [sha256 for _, sha256 in entry.files.values()]
            if isinstance(entry, GitHub)
            else list(entry.sha256.values())
        )
        assert all(h == '' or len(bytes.fromhex(h)) == 32 for h in hashes), name
        if isinstance(entry, Hub) and entry.sha256:
            assert entry.revision != 'main', f'{name}: hashes without a pinned revision'


def test_published_answers_are_trained_on(tmp_path):
    """A file whose name begins with `test` would be a test split."""
    for path in catalogue.CATALOGUE['fsa-answers'].files:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text('{}')
    assert list(corpus_files(tmp_path / 'corpus')) == ['train']


@pytest.mark.data
def test_the_hashes_are_those_of_the_published_files(shared):
    entry = catalogue.CATALOGUE['fsa-benchmark']
    found = 0
    for path, (_, sha256) in entry.files.items():
        if (shared / 'data' / path).is_file():
            found += 1
            assert manifest.file_sha256(shared / 'data' / path) == sha256, path
    assert found == 8
    assert manifest.file_sha256(shared / 'data/t5/spiece.model') == catalogue.SPIECE

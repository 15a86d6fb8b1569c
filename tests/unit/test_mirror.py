"""An output folder at a URL: what arrives there, and what is left of it after a kill at any moment."""

import errno
import json
import os
import subprocess
import sys
import threading

import fsspec
import pytest

from fsa_jax import mirror
from fsa_jax.errors import Unreachable, UserError
from fsa_jax.hosts import Hosts
from fsa_jax.manifest import AlreadyDone
from fsa_jax.mirror import INDEX, Copying, Mirror, Overtaken, Store, mirrored

BEFORE = {'metrics.jsonl': 'a', 'checkpoints/1/x': 'x1', 'checkpoints/1/d/y': 'y1'}
AFTER = {
    'metrics.jsonl': 'ab',
    'checkpoints/2/x': 'x2',
    'checkpoints/2/d/y': 'y2',
    'best.json': '2',
}


@pytest.fixture(params=['memory', 'file'])
def url(request, tmp_path):
    where = 'memory://bucket/run' if request.param == 'memory' else f'file://{tmp_path}/store/run'
    yield where
    files, root = fsspec.url_to_fs(where)
    if files.exists(root):
        files.rm(root, recursive=True)


def write(folder, files):
    """Makes a folder hold these files alone, each written anew."""
    for path in [p for p in folder.rglob('*') if p.is_file()]:
        path.unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob('*') if p.is_file()
    }


def host(tmp_path, name, url, store=Store):
    return Mirror(store(url), tmp_path / name / 'run')


def pulled(tmp_path, name, url):
    """What a host finds at the URL where it begins."""
    there = host(tmp_path, name, url)
    there.begin()
    return read(there.folder)


def fetched(tmp_path, name, url):
    """The same of a host that does not write there."""
    there = host(tmp_path, name, url)
    there.fetch()
    return read(there.folder)


@pytest.fixture
def first(tmp_path, url):
    """A host that has written BEFORE."""
    first = host(tmp_path, 'first', url)
    first.begin()
    write(first.folder, BEFORE)
    first.push()
    return first


def test_another_host_finds_what_was_written(first, tmp_path, url):
    assert fetched(tmp_path, 'second', url) == BEFORE
    write(first.folder, AFTER)
    first.push()
    assert pulled(tmp_path, 'third', url) == AFTER
    assert pulled(tmp_path, 'second', url) == AFTER, 'what it had before has gone'
    assert not (tmp_path / 'second' / 'run' / 'checkpoints' / '1').exists()
    assert Store(url).names() == {INDEX, *AFTER}


def test_what_is_not_whole_stays_here(first, tmp_path, url):
    passing = (
        'checkpoints/3.orbax-checkpoint-tmp/x',
        'checkpoints/1.damaged/x',
        '.best.json.7.tmp',
    )
    write(first.folder, BEFORE | dict.fromkeys(passing, ''))
    first.push()
    assert pulled(tmp_path, 'second', url) == BEFORE


class Killed(BaseException):
    pass


class Brittle(Store):
    """A store whose client dies at some write."""

    left = 0

    def _count(self):
        Brittle.left -= 1
        if Brittle.left < 0:
            raise Killed

    def put(self, *arguments):
        self._count()
        super().put(*arguments)

    def write(self, *arguments):
        self._count()
        super().write(*arguments)

    def remove(self, names):
        for name in sorted(names):
            self._count()
            super().remove({name})


def test_killed_at_any_moment_the_url_holds_whole_checkpoints(tmp_path, url):
    seen = []
    for moment in range(20):
        one = host(tmp_path, f'{moment}', f'{url}/{moment}', Brittle)
        Brittle.left = 100
        one.begin()
        write(one.folder, BEFORE)
        one.push()
        write(one.folder, AFTER)
        Brittle.left = moment
        try:
            one.push()
        except Killed:
            pass
        else:
            break
        found = pulled(tmp_path, f'{moment}-other', f'{url}/{moment}')
        assert found.pop('metrics.jsonl') in ('a', 'ab')
        found.pop('best.json', None)
        known = {
            n: {k: v for k, v in files.items() if k.startswith('checkpoints')}
            for n, files in ((1, BEFORE), (2, AFTER))
        }
        assert found in known.values()
        seen.append(found == known[2])
        assert Store(f'{url}/{moment}').names() <= {INDEX, 'metrics.jsonl', 'best.json', *found}
    else:
        pytest.fail('it never came to its end')
    assert seen == sorted(seen), 'the new checkpoint counts from the index on'
    assert {False, True} == set(seen)


def test_a_damaged_checkpoint_is_left_out(first, tmp_path, url, capsys):
    write(first.folder, BEFORE | {'checkpoints/2/x': 'x2'})
    first.push()
    files, root = fsspec.url_to_fs(url)
    files.pipe_file(f'{root}/checkpoints/2/x', b'x3')
    assert pulled(tmp_path, 'second', url) == BEFORE
    assert (
        'run/checkpoints/2/x is missing or damaged; its checkpoint is left out'
        in capsys.readouterr().err
    )
    files.rm_file(f'{root}/checkpoints/2/x')
    assert pulled(tmp_path, 'third', url) == BEFORE


def test_another_damaged_file_is_an_error(first, tmp_path, url):
    files, root = fsspec.url_to_fs(url)
    files.pipe_file(f'{root}/metrics.jsonl', b'b')
    with pytest.raises(UserError, match=r'run/metrics.jsonl is missing or damaged'):
        pulled(tmp_path, 'second', url)


def test_an_index_does_not_write_elsewhere(first, tmp_path, url):
    content = json.loads(Store(url).read(INDEX))
    content['files']['../../outside'] = content['files']['metrics.jsonl']
    Store(url).write(INDEX, json.dumps(content).encode())
    with pytest.raises(UserError, match='lies outside'):
        pulled(tmp_path, 'second', url)


def test_what_this_host_has_not_copied_any_more_is_kept(first, tmp_path, url):
    write(first.folder, AFTER)
    again = host(tmp_path, 'first', url)
    again.begin()
    assert read(again.folder) == AFTER
    again.push()
    assert pulled(tmp_path, 'second', url) == AFTER


@pytest.mark.parametrize('gone', [['metrics.jsonl'], list(BEFORE)])
def test_what_is_gone_from_this_host_comes_back(first, tmp_path, url, gone):
    """Someone cleans the folder of copies; the index that lies beside it stays."""
    for name in gone:
        (first.folder / name).unlink()
    (first.folder / 'new').write_text('n')
    again = host(tmp_path, 'first', url)
    again.begin()
    assert read(again.folder) == BEFORE | {'new': 'n'}
    again.push()
    assert pulled(tmp_path, 'second', url) == BEFORE | {'new': 'n'}


def test_what_a_stage_deleted_as_it_finished_stays_away(first, tmp_path, url):
    """The URL was not told, as it was down; it has an older checkpoint too, which a newer one replaced."""
    told = {'stage': 'train', 'knobs': {}, 'files': {'metrics.jsonl': {}, 'checkpoints/2/x': {}}}
    rest = {'metrics.jsonl': 'ab', 'checkpoints/2/x': 'x2', 'manifest.json': json.dumps(told)}
    write(
        first.folder,
        {**BEFORE, 'checkpoints/2/x': 'x2', 'checkpoints/2/training': 't', '.job.json': 'j'},
    )
    first.push()
    write(first.folder, rest)
    again = host(tmp_path, 'first', url)
    again.begin()
    assert read(again.folder) == rest


def test_what_another_host_wrote_since_wins(first, tmp_path, url):
    second = host(tmp_path, 'second', url)
    second.begin()
    write(second.folder, AFTER)
    second.push()
    write(first.folder, BEFORE | {'checkpoints/9/x': 'never copied'})
    with pytest.raises(Overtaken, match='another run writes to'):
        first.push()
    assert pulled(tmp_path, 'first', url) == AFTER


class Overtaking(Store):
    """A store to which another host turns while the first file is on its way."""

    other: Mirror | None = None

    def put(self, name, path, size):
        super().put(name, path, size)
        if self.other is not None:
            other, self.other = self.other, None
            other.begin()


def test_a_host_that_is_overtaken_while_it_copies_leaves_the_index_to_the_other(
    first, tmp_path, url
):
    late = host(tmp_path, 'late', url, Overtaking)
    late.begin()
    second = host(tmp_path, 'second', url)
    late._store.other = second
    (late.folder / 'checkpoints' / '2').mkdir()
    (late.folder / 'checkpoints' / '2' / 'x').write_text('x2')
    with pytest.raises(Overtaken, match='another run writes to'):
        late.push()
    second.push()
    assert pulled(tmp_path, 'third', url) == BEFORE
    assert Store(url).names() == {INDEX, *BEFORE}


def test_overwrite_begins_anew(first, tmp_path, url):
    again = host(tmp_path, 'second', url)
    again.begin(overwrite=True)
    assert Store(url).names() == {INDEX}
    assert read(again.folder) == {}


def test_a_place_of_something_else_is_refused(tmp_path, url):
    Store(url).write('holiday.jpg', b'')
    for overwrite in (False, True):
        with pytest.raises(UserError, match='run holds files of something else'):
            host(tmp_path, 'first', url).begin(overwrite)
    assert Store(url).names() == {'holiday.jpg'}


@pytest.mark.parametrize('where', ['nosuch://bucket/run', 'file:///dev/null/run'])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, where):
    monkeypatch.setenv(mirror.FOLDERS, str(tmp_path))
    with pytest.raises(UserError, match=f'^{where}: .*') as caught, mirrored(where, Hosts()):
        pass
    assert '\n' not in str(caught.value)


class ServerDisconnectedError(Exception):
    """By its name one of aiohttp's."""


class HttpError(Exception):
    """As gcsfs has it."""

    def __init__(self, code):
        self.code = code
        super().__init__(f'{code}')


@pytest.mark.parametrize(
    ('error', 'kind'),
    [
        (ServerDisconnectedError(), Unreachable),
        (HttpError(503), Unreachable),
        (OSError(errno.ENETUNREACH, 'Network is unreachable'), Unreachable),
        (HttpError(403), UserError),
        (OSError('Forbidden'), UserError),
    ],
)
def test_a_store_that_is_down_is_told_from_one_that_refuses(tmp_path, url, error, kind):
    def ask():
        raise error

    with pytest.raises(UserError, match=url) as caught:
        Store(url)._asked(ask)
    assert type(caught.value) is kind


@pytest.mark.parametrize('overwrite', [False, True])
def test_a_second_run_of_this_host_is_refused_before_it_touches_anything(
    tmp_path, monkeypatch, url, overwrite
):
    """Locks are between processes: the second one is a process."""
    monkeypatch.setenv(mirror.FOLDERS, str(tmp_path / 'outputs'))
    where = url if url.startswith('file') else f'file://{tmp_path}/other/run'
    script = f"""
from fsa_jax.hosts import Hosts
from fsa_jax.mirror import mirrored
with mirrored({where!r}, Hosts(), {overwrite}):
    pass
"""
    with mirrored(where, Hosts()) as place:
        place.folder.mkdir(parents=True, exist_ok=True)
        (place.folder / 'text').write_text('x')
        found = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
        assert f'UserError: --output={where} is being written by another run' in found.stderr
        assert read(place.folder) == {'text': 'x'}
    assert Store(where).read('text') == b'x'


# -- while a run writes ----------------------------------------------------------------------------


class Refusing(Store):
    """A store that takes nothing for a while."""

    refuses = threading.Event()
    error = UserError

    def put(self, name, path, size):
        if self.refuses.is_set():
            raise self.error(f'{self.url}: 403 Forbidden')
        super().put(name, path, size)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(mirror, 'POLL', 0.01)
    monkeypatch.setattr(mirror, 'RETRY', 0.01)
    Refusing.refuses.clear()


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail('it did not happen')


def test_new_files_are_copied_at_once_and_grown_ones_at_the_end(quick, tmp_path, url):
    one = host(tmp_path, 'first', url)
    one.begin()
    store = Store(url)
    with Copying(one):
        write(one.folder, BEFORE)
        wait_for(lambda: b'checkpoints/1/d/y' in store.read(INDEX))
        (one.folder / 'metrics.jsonl').write_text('abc')
        threading.Event().wait(0.2)
        assert store.read('metrics.jsonl') == b'a'
    assert store.read('metrics.jsonl') == b'abc'


def test_where_the_url_refuses_the_run_goes_on(quick, tmp_path, url, capsys):
    one = host(tmp_path, 'first', url, Refusing)
    one.begin()
    with Copying(one):
        Refusing.refuses.set()
        write(one.folder, BEFORE)
        threading.Event().wait(0.3)
        Refusing.refuses.clear()
        wait_for(lambda: b'checkpoints/1/d/y' in Store(url).read(INDEX))
    assert capsys.readouterr().err.count(f'not copied: {url}: 403 Forbidden; the run goes on') == 1


def test_a_full_disk_of_this_host_does_not_end_the_copying(
    quick, tmp_path, url, capsys, monkeypatch
):
    one = host(tmp_path, 'first', url)
    one.begin()
    full = threading.Event()
    write_atomic = mirror.write_atomic

    def fails(*arguments):
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_atomic(*arguments)

    monkeypatch.setattr(mirror, 'write_atomic', fails)
    full.set()
    with Copying(one):
        write(one.folder, BEFORE)
        one.flush()  # as a run does before it saves
        threading.Event().wait(0.3)
        full.clear()
        wait_for(lambda: one.known.read_bytes() == Store(url).read(INDEX) and one._there)
    assert 'No space left on device; the run goes on' in capsys.readouterr().err
    assert pulled(tmp_path, 'second', url) == BEFORE


@pytest.mark.parametrize('kind', [UserError, Unreachable])
def test_what_was_never_copied_is_said_at_the_end(quick, tmp_path, url, kind, monkeypatch):
    monkeypatch.setattr(Refusing, 'error', kind)
    one = host(tmp_path, 'first', url, Refusing)
    one.begin()
    Refusing.refuses.set()
    with (
        pytest.raises(
            UserError, match=r'403 Forbidden; what it lacks lies in .*/first/run'
        ) as caught,
        Copying(one),
    ):
        write(one.folder, BEFORE)
    assert type(caught.value) is kind  # its exit status says whether to try again
    with pytest.raises(kind), Copying(one):  # nor did the same command, given again, copy it
        raise AlreadyDone
    with pytest.raises(ZeroDivisionError), Copying(one):  # the first error is the one that counts
        raise ZeroDivisionError


def test_the_others_wait_for_what_a_finished_run_has_left_to_copy(
    quick, tmp_path, url, monkeypatch
):
    monkeypatch.setenv(mirror.FOLDERS, str(tmp_path / 'here'))
    waited = []

    class Several(Hosts):
        def barrier(self, name):
            waited.append(name)

    with pytest.raises(AlreadyDone), mirrored(url, Several()):
        raise AlreadyDone
    assert waited == ['copied']

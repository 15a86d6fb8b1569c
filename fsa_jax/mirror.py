"""An output folder at a URL (gs://, s3://, any fsspec path): written here, and kept there.

    with mirrored('gs://bucket/run', hosts) as folder:     # a folder of this host, as it was left
        ...                                                # what is finished in there is copied

The stage works in a folder of this host. A thread copies to the URL what is whole in there, under the
same names, and then writes the index, `.fsa_index.json`: {"files": {name: [{"bytes", "sha256"}, …]}, "run"}.
Only what the index lists, with a hash that it lists, counts. A file that is to be written over is
listed with both its contents first, so that a kill between two uploads leaves nothing that is not in
the index. At a start the folder is made what the index says, unless this host wrote that index itself:
then it holds all that the URL holds, and what was not copied any more as well. "run" is another at each
start: a run that finds another's in the index has been overtaken, and ends.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from fsa_jax import gcs, lock, manifest
from fsa_jax.errors import Unreachable, UserError, may_pass
from fsa_jax.hosts import Hosts
from fsa_jax.manifest import AlreadyDone, Place, write_atomic
from fsa_jax.progress import say, track

INDEX = '.fsa_index.json'
FOLDERS = 'FSA_OUTPUTS'  # environment: where outputs at URLs are worked on
POLL = 1.0  # seconds between looks at the folder
CALM = 60.0  # seconds between copies where files only grew; a new file is copied at once
RETRY = 10.0  # seconds until the next try where the URL refused
PATIENCE = 3  # tries at the end of a run, before it is said that the URL refuses
_AT_ONCE = 8  # files on their way
_CHUNK = 1 << 22
# What a writer has not finished, or has set aside.
_NOT_WHOLE = re.compile(r'\.(tmp|part|etag)$|\.orbax-checkpoint-tmp|\.damaged\d*$')
_CHECKPOINT = re.compile(r'checkpoints/(\d+)/')
# A store of objects shows an object whole or not at all; a file system shows a file as it grows.
_OBJECTS = ('gs', 'gcs', 's3', 's3a', 'abfs', 'az', 'oci')

Entry = dict[str, Any]  # {'bytes': …, 'sha256': …}
T = TypeVar('T')


class Overtaken(UserError):
    """Another run writes to the same URL."""


class Store:
    """The files below a URL. Every method raises UserError, one line, where the store refuses."""

    def __init__(self, url: str):
        self.url = url.rstrip('/')
        self._objects = url.partition('://')[0] in _OBJECTS
        # Nothing is remembered of listings: another process may write there.
        self._files, self._root = self._asked(
            lambda: fsspec.url_to_fs(self.url, use_listings_cache=False)
        )

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except FileNotFoundError:
            raise
        except Exception as error:
            told = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            kind = Unreachable if may_pass(error) else UserError
            raise kind(f'{self.url}: {told}') from error

    def read(self, name: str) -> bytes | None:
        """All of a file; None where there is none."""
        try:
            return self._asked(lambda: self._files.cat_file(f'{self._root}/{name}'))
        except FileNotFoundError:
            return None

    def names(self) -> set[str]:
        """All files, relative to the URL."""
        try:
            found = self._asked(lambda: self._files.find(self._root))
        except FileNotFoundError:
            return set()
        return {path.removeprefix(self._root).lstrip('/') for path in found}

    def get(self, name: str, path: Path) -> None:
        """Copies a file here. FileNotFoundError where there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._asked(lambda: self._files.get_file(f'{self._root}/{name}', str(path)))

    def put(self, name: str, path: Path, size: int) -> None:
        """Copies the first `size` bytes of a file there, whole or not at all."""

        def write(target: str) -> None:
            with open(path, 'rb') as source, self._files.open(target, 'wb') as file:
                for begin in range(0, size, _CHUNK):
                    file.write(source.read(min(_CHUNK, size - begin)))

        self._whole(name, write)
        there = self._asked(lambda: self._files.info(f'{self._root}/{name}')['size'])
        if there != size:
            raise UserError(f'{self.url}/{name}: {there} bytes arrived of {size}')

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file, whole or not at all."""
        self._whole(name, lambda target: self._files.pipe_file(target, content))

    def _whole(self, name: str, write: Callable[[str], None]) -> None:
        target = f'{self._root}/{name}'
        try:
            if self._objects:
                self._asked(lambda: write(target))
                return
            self._asked(lambda: self._files.makedirs(os.path.dirname(target), exist_ok=True))
            self._asked(lambda: write(f'{target}.part'))
            self._asked(lambda: self._files.mv(f'{target}.part', target))
        except FileNotFoundError as error:  # no such bucket
            raise UserError(f'{self.url} cannot be written: {error}') from error

    def remove(self, names: set[str]) -> None:
        """Deletes files; those that are not there are none the less gone."""
        for name in sorted(names):
            with contextlib.suppress(FileNotFoundError):
                self._asked(partial(self._files.rm_file, f'{self._root}/{name}'))


def workplace(url: str) -> Path:
    """The folder of this host where an output at a URL is worked on."""
    root = os.environ.get(FOLDERS) or Path.home() / '.cache' / 'fsa_jax' / 'outputs'
    url = url.rstrip('/')
    return Path(root) / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rpartition('/')[2]


class Mirror:
    """A folder and its copy at a URL. Beside the folder lie `index.json`, the index that this host wrote
    or read last, and `sending`, hard links to what is being copied: a checkpoint that is dropped in the
    meantime still arrives whole.

    With `direct`, checkpoints are written to the URL by others, and left alone here.
    """

    def __init__(self, store: Store, folder: Path, direct: bool = False):
        self._store, self.folder, self._direct = store, folder, direct
        self.known, self._sending = folder.parent / 'index.json', folder.parent / 'sending'
        self._lock = threading.Lock()
        self._index: bytes | None = None  # as the URL has it
        self._run = secrets.token_hex(8)
        self._there: dict[str, Entry] = {}  # what lies at the URL, in the index or not yet
        self._hashes: dict[str, tuple[tuple[int, ...], Entry]] = {}

    def begin(self, overwrite: bool = False) -> None:
        """Fetches what the URL holds, then makes sure that it can be written, and drops what a killed
        upload left. UserError also where it holds something else."""
        names = {name for name in self._store.names() if not name.startswith(INDEX)}
        self.fetch(overwrite)
        if self._index is None and names:
            raise UserError(
                f'{self._store.url} holds files of something else; choose an empty or new place'
            )
        listed = self._listed()
        self._there = {name: versions[0] for name, versions in listed.items()}
        self._write_index(listed)
        kept = {name for name in names if self._direct and name.startswith('checkpoints/')}
        self._store.remove(names - listed.keys() - (set() if overwrite else kept))

    def fetch(self, overwrite: bool = False) -> None:
        """Makes the folder what the URL holds, every file checked against its hash; with `overwrite`
        the URL holds nothing any more. Where this host wrote last its files are the newer ones, and only
        those come that are gone from here.

        A checkpoint of which a file is missing or damaged is said, and left out. UserError where another
        file is, or the URL refuses.
        """
        self._index = self._store.read(INDEX)
        if overwrite and self._index is not None:
            self._write_index({})
            shutil.rmtree(self.folder, ignore_errors=True)
        listed = self._listed()
        if self._index is not None and self._is_ours():
            listed = {name: listed[name] for name in self._gone(listed)}
        else:
            self.known.unlink(missing_ok=True)
            for path in _files(self.folder):
                if _name(path, self.folder) not in listed:
                    path.unlink()
        self._make(listed)
        if self._index is not None:
            self._remember(self._index)

    def _listed(self) -> dict[str, list[Entry]]:
        return json.loads(self._index)['files'] if self._index is not None else {}

    def _is_ours(self) -> bool:
        return self.known.is_file() and self.known.read_bytes() == self._index

    def _gone(self, listed: Iterable[str]) -> list[str]:
        """Those of the files that are gone from here, but for what the stage itself deletes: files of a
        job that is finished since, and checkpoints, which come back whole and newer than all here."""
        finished = manifest.find(self.folder)
        kept = {manifest.MANIFEST, manifest.CONFIG, *finished['files']} if finished else {*listed}
        newest = max((_step(_name(path, self.folder)) for path in _files(self.folder)), default=-1)
        return [
            name
            for name in listed
            if name in kept
            and (_step(name) < 0 or _step(name) > newest)
            and not (self.folder / name).is_file()
        ]

    def _make(self, listed: dict[str, list[Entry]]) -> None:
        total = sum(versions[0]['bytes'] for versions in listed.values()) / 1e6
        with (
            concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool,
            track(f'copy {self._store.url}', total, 'MB') as bar,
        ):
            for good, name, versions in zip(
                pool.map(lambda item: self._fetch(*item), listed.items()), listed, listed.values()
            ):
                bar.update(versions[0]['bytes'] / 1e6)
                if not good:
                    self._give_up(name)
        _drop_empty(self.folder)

    def _fetch(self, name: str, versions: list[Entry]) -> bool:
        """Makes a file one of its versions; whether that could be done."""
        path = self.folder / name
        if self.folder.resolve() not in path.resolve().parents:
            raise UserError(
                f'{self._store.url}: its index lists {name!r}, which lies outside of it'
            )
        if path.is_file() and _entry(path) in versions:
            return True
        part = path.with_name(f'{path.name}.part')
        try:
            self._store.get(name, part)
        except FileNotFoundError:
            return False
        if _entry(part) not in versions:
            part.unlink()
            return False
        os.replace(part, path)
        return True

    def _give_up(self, name: str) -> None:
        damaged = _CHECKPOINT.match(name)
        if damaged is None:
            raise UserError(
                f'{self._store.url}/{name} is missing or damaged: the index has another hash'
            )
        say(f'{self._store.url}/{name} is missing or damaged; its checkpoint is left out')
        shutil.rmtree(self.folder / damaged[0], ignore_errors=True)

    def flush(self) -> None:
        """Copies what lies in the folder now; where the URL refuses, the next try is left to `Copying`."""
        with contextlib.suppress(UserError):
            self.push()

    def push(self) -> None:
        """Copies what changed, then the index, and then deletes what is no longer in it.

        UserError where the URL or the disk of this host refuses, or another run writes there.
        """
        with self._lock:
            try:
                self._push()
            except OSError as error:
                raise UserError(f'{self.folder}: {error}') from error

    def _push(self) -> None:
        self._check_ours()
        try:
            here = self._snapshot()
            new = {name: entry for name, entry in here.items() if self._there.get(name) != entry}
            listed = self._listed()
            over = {name: [new[name], *listed[name]] for name in new.keys() & listed.keys()}
            if over:
                self._write_index(listed | over)
            with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
                for _ in pool.map(lambda item: self._send(*item), new.items()):
                    pass
        finally:
            shutil.rmtree(self._sending, ignore_errors=True)
        self._check_ours()  # a run that began since has removed what was just sent
        self._write_index({name: [entry] for name, entry in here.items()})
        gone = self._there.keys() - here.keys()
        self._store.remove(gone)
        for name in gone:
            del self._there[name]

    def _check_ours(self) -> None:
        if self._store.read(INDEX) != self._index:
            raise Overtaken(f'another run writes to {self._store.url}: this one no longer does')

    def _send(self, name: str, entry: Entry) -> None:
        self._there.pop(name, None)  # of what a failed upload leaves nothing is known
        self._store.put(name, self._sending / name, entry['bytes'])
        self._there[name] = entry

    def state(self) -> dict[str, tuple[int, ...]]:
        """What tells whether a file is another than before, of each that is whole."""
        found = {}
        for path in _files(self.folder):
            with contextlib.suppress(FileNotFoundError):  # dropped since
                found[_name(path, self.folder)] = _state(path)
        return found

    def _snapshot(self) -> dict[str, Entry]:
        """Links all that is whole into `sending`, and hashes it. Checkpoints first: the rows of
        metrics.jsonl may be ahead of them, never behind."""
        shutil.rmtree(self._sending, ignore_errors=True)
        self._sending.mkdir(parents=True)
        found = {}
        for path in sorted(
            _files(self.folder), key=lambda p: not _CHECKPOINT.match(_name(p, self.folder))
        ):
            name = _name(path, self.folder)
            link = self._sending / name
            link.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # dropped since
                os.link(path, link)
                found[name] = self._hashed(name, link)
        return found

    def _hashed(self, name: str, path: Path) -> Entry:
        """The hash of a file, computed anew where the file is another."""
        state = _state(path)
        if name not in self._hashes or self._hashes[name][0] != state:
            self._hashes[name] = state, _entry(path)
        return self._hashes[name][1]

    def _write_index(self, listed: dict[str, list[Entry]]) -> None:
        content = json.dumps({'files': listed, 'run': self._run}, indent=1).encode()
        self._store.write(INDEX, content)
        self._remember(content)

    def _remember(self, content: bytes) -> None:
        self._index = content
        self.known.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.known, content)


class Copying:
    """A thread that copies a folder while it is written, and all of it at the end."""

    def __init__(self, mirror: Mirror):
        self._mirror = mirror
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name='mirror', daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind, error, traceback) -> None:
        self._ended.set()
        self._thread.join()
        try:
            self._finish()
        except UserError as refused:
            kept = f'{refused}; what it lacks lies in {self._mirror.folder}'
            if _is_no_failure(kind):
                raise type(refused)(f'{kept}, and the same command tries again') from refused
            say(kept)  # beside the error that ended the run

    def _finish(self) -> None:
        for left in reversed(range(PATIENCE)):
            try:
                self._mirror.push()
                return
            except Overtaken:
                raise
            except UserError as error:
                if not left:
                    raise
                say(f'{error}; trying again')
                time.sleep(POLL)

    def _run(self) -> None:
        """Copies new files at once, those that only grew once in a while. Where the URL refuses, that is
        said once, and the run goes on."""
        copied: dict[str, tuple[int, ...]] = {}
        due, said = 0.0, ''
        while not self._ended.wait(POLL):
            state = self._mirror.state()
            urgent = state.keys() != copied.keys() and not said
            if state == copied or (time.monotonic() < due and not urgent):
                continue
            try:
                self._mirror.push()
                copied, said = state, ''
            except UserError as error:
                if str(error) != said:
                    say(f'not copied: {error}; the run goes on')
                said = str(error)
                if isinstance(error, Overtaken):
                    return
            due = time.monotonic() + (RETRY if said else CALM)


@contextlib.contextmanager
def mirrored(
    url: str, hosts: Hosts, overwrite: bool = False, checkpoints: bool = False
) -> Iterator[Place]:
    """The folder of this host for an output at a URL; copied there while it is written.

    With `checkpoints` those of gs:// go there directly, from the hosts of all processes: a host then
    has a folder of its own. UserError where the URL refuses, or processes of several hosts have no
    folder in common and need one.
    """
    url, folder = url.rstrip('/'), workplace(url)
    direct = checkpoints and url.startswith('gs://')
    if direct:
        gcs.open_by_gcsfs()
    mirror = Mirror(Store(url), folder, direct)
    flush = mirror.flush if direct and hosts.main else lambda: None
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            # Another run of this host may be at work in there, and has not copied all of it yet.
            stack.enter_context(lock.held(folder.parent, url))
            mirror.begin(overwrite)

        hosts.first(begin)
        if not _seen_by_all(folder.parent / 'start', hosts):
            if not direct:
                raise UserError(
                    f'--output={url}: its processes are on several hosts and have no folder in common; '
                    f'expected gs://, a path on a file system that all of them mount, or {FOLDERS} on one'
                )
            if not hosts.main:
                mirror.fetch()
            hosts.barrier('fetched')
        say(f'{url} is worked on in {folder}')
        stack.push(lambda kind, *_: _await_the_copy(kind, hosts))
        if hosts.main:
            stack.enter_context(Copying(mirror))
        yield Place(folder, flush, f'{url}/checkpoints' if direct else '')


def _is_no_failure(kind: type[BaseException] | None) -> bool:
    """Whether all processes leave a run in this way, and what it left is to arrive."""
    return kind is None or issubclass(kind, (SystemExit, AlreadyDone))


def _await_the_copy(kind: type[BaseException] | None, hosts: Hosts) -> None:
    """The others wait for the main process, whose last files may take their time."""
    if _is_no_failure(kind):
        hosts.barrier('copied')


def _seen_by_all(path: Path, hosts: Hosts) -> bool:
    """Whether the processes have the folder of a path in common."""

    def leave() -> str:
        write_atomic(path, secrets.token_hex())
        return path.read_text()

    left = hosts.first(leave)
    return hosts.all('sees the folder', path.is_file() and path.read_text() == left)


def _files(folder: Path) -> list[Path]:
    """All files of a folder that are whole."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _NOT_WHOLE.search(name)]
        found += [Path(root) / name for name in names if not _NOT_WHOLE.search(name)]
    return found


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _step(name: str) -> int:
    """The step of the checkpoint that a file belongs to; -1 for none."""
    checkpoint = _CHECKPOINT.match(name)
    return int(checkpoint[1]) if checkpoint else -1


def _state(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _entry(path: Path) -> Entry:
    """Bytes and hash of a file, of as much as it holds at first where it grows."""
    size, hashed = path.stat().st_size, hashlib.sha256()
    with open(path, 'rb') as file:
        for begin in range(0, size, _CHUNK):
            hashed.update(file.read(min(_CHUNK, size - begin)))
    return {'bytes': size, 'sha256': hashed.hexdigest()}


def _drop_empty(folder: Path) -> None:
    for root, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(root)

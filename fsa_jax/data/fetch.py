"""One file over HTTP or from a folder: resumed, retried, verified, then renamed into place.

A file grows as `NAME.part` beside its target and gets its name only when it is whole and its hash is
right, so a file that is there is good. Beside a part lies the ETag it began with: a server whose file
changed since then sends it anew (If-Range, RFC 9110); one that sends the rest of another file or from
another place all the same is asked again for the whole.
"""

import base64
import errno
import netrc
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from fsa_jax import manifest, progress
from fsa_jax.errors import UserError
from fsa_jax.urls import public

MOST_WAIT = 30.0  # seconds between tries
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth another try


@dataclass(frozen=True)
class File:
    """A file to fetch: its path in the output, its URL, and its hash and bytes where known."""

    path: str
    url: str
    sha256: str = ''
    size: int | None = None


class Fetcher:
    """Fetches files into a folder; a context manager that holds the connections.

    `retries` further tries follow a failure; a try that brought new bytes starts the count again.
    """

    def __init__(self, folder: Path, timeout: float, retries: int, backoff: float = 1.0):
        self._folder, self._retries, self._backoff = folder, retries, backoff
        self._client = httpx.Client(timeout=timeout, follow_redirects=True)

    def __enter__(self) -> 'Fetcher':
        return self

    def __exit__(self, *_) -> None:
        self._client.close()

    def json(self, url: str) -> Any:
        """The JSON document at `url`; UserError where it is something else."""
        attempt = 0
        while True:
            with self._errors(url, attempt):
                response = self._client.get(url, headers=_authorization(url))
                response.raise_for_status()
                break
            attempt += 1
        try:
            return response.json()
        except ValueError:
            raise UserError(
                f'{public(url)}: expected JSON; is DownloadConfig.mirror such a host?'
            ) from None

    def file(self, file: File) -> str:
        """Fetches a file unless it is there already and good; returns its sha256."""
        target = self._folder / file.path
        if target.is_file():
            sha256 = manifest.file_sha256(target)
            if file.sha256 in ('', sha256):
                return sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        return self._download(file, target)

    def _download(self, file: File, target: Path) -> str:
        part, etag = (target.with_name(target.name + end) for end in ('.part', '.etag'))
        attempt = 0
        while True:
            before = part.stat().st_size if part.exists() else 0
            with self._errors(file.url, attempt):
                self._stream(file, part, etag)
                break
            grown = part.exists() and part.stat().st_size > before
            attempt = 0 if grown else attempt + 1
        etag.unlink(missing_ok=True)
        try:
            sha256 = _verified(part, file)
        except UserError:
            if not before:
                raise
            return self._download(file, target)  # the earlier bytes were of something else
        os.replace(part, target)
        return sha256

    def _stream(self, file: File, part: Path, etag: Path) -> None:
        start = part.stat().st_size if part.exists() else 0
        headers = {'Accept-Encoding': 'identity'} | _authorization(file.url)
        if start and etag.exists():
            headers |= {'Range': f'bytes={start}-', 'If-Range': etag.read_text()}
        elif start and file.sha256:
            headers |= {'Range': f'bytes={start}-'}  # the hash will tell
        with self._client.stream('GET', file.url, headers=headers) as response:
            if response.status_code == 416 and start:  # nothing lies beyond what we have
                return
            response.raise_for_status()
            resumed = start > 0 and response.status_code == 206
            if not resumed or _continues(response, start, etag):
                _keep_etag(etag, response.headers.get('ETag', ''))
                _write(response, file, part, start if resumed else 0)
                return
        for stale in (part, etag):
            stale.unlink(missing_ok=True)
        self._stream(file, part, etag)  # without a part it asks for the whole

    @contextmanager
    def _errors(self, url: str, attempt: int) -> Iterator[None]:
        """Waits after a passing failure while tries are left; else raises UserError in one line."""
        url = public(url)
        try:
            yield
            return
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status not in _PASSING or attempt >= self._retries:
                raise UserError(f'{url}: {_meaning(status)}') from None
            failure, wait = f'HTTP {status}', error.response.headers.get('Retry-After', '')
        except httpx.InvalidURL as error:
            raise UserError(f'{url}: {error}') from None
        except httpx.RequestError as error:
            failure, wait = f'{type(error).__name__}: {error}'.rstrip(': '), ''
            if attempt >= self._retries:
                raise UserError(
                    f'{url}: {failure}; is there a network? DownloadConfig.mirror takes another host '
                    'or a local folder, and the same command resumes'
                ) from None
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise UserError(
                f'{self._folder}: no space left on the disk; {url} needs more'
            ) from None
        seconds = min(MOST_WAIT, self._backoff * 2**attempt)
        if wait.isdigit():
            seconds = min(MOST_WAIT, float(wait))
        progress.say(f'{url}: {failure}; trying again in {seconds:g} s')
        time.sleep(seconds)


def copy(file: File, source: Path, folder: Path) -> str:
    """Copies a file from a local folder instead; returns its sha256."""
    if not source.is_file():
        raise UserError(f'{source} does not exist; DownloadConfig.mirror should hold {file.path}')
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + '.part')
    _check_space(target.parent, source.stat().st_size)
    shutil.copyfile(source, part)
    sha256 = _verified(part, file)
    os.replace(part, target)
    return sha256


def _verified(path: Path, file: File) -> str:
    """The sha256 of `path`; a file with another than expected is removed, with a UserError."""
    sha256 = manifest.file_sha256(path)
    if file.sha256 and sha256 != file.sha256:
        path.unlink()
        raise UserError(
            f'{public(file.url)} has sha256 {sha256}, expected {file.sha256}: damaged, or not what was '
            'published (check DownloadConfig.mirror, DownloadConfig.sha256)'
        )
    return sha256


def _continues(response: httpx.Response, start: int, etag: Path) -> bool:
    """Whether a 206 begins at byte `start` of the file that the part is of, as its ETag tells."""
    same = not etag.exists() or response.headers.get('ETag') == etag.read_text()
    return same and response.headers.get('Content-Range', '').startswith(f'bytes {start}-')


def _write(response: httpx.Response, file: File, part: Path, start: int) -> None:
    """Writes a body into `part` from byte `start` on, and flushes it to the disk."""
    length = response.headers.get('Content-Length')
    total = start + int(length) if length else file.size
    _check_space(part.parent, total - start if total else 0)
    with (
        progress.track(file.path, total and total / 1e6, 'MB', start=start / 1e6) as bar,
        open(part, 'ab' if start else 'wb') as out,
    ):
        for chunk in response.iter_bytes():  # unbuffered: a broken body keeps its bytes
            out.write(chunk)
            bar.update(len(chunk) / 1e6)
        out.flush()
        os.fsync(out.fileno())


def _keep_etag(path: Path, etag: str) -> None:
    if etag and not etag.startswith('W/'):  # a weak one does not promise the same bytes
        path.write_text(etag)
    else:
        path.unlink(missing_ok=True)


def _check_space(folder: Path, needed: float) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f'{folder}: {needed / 1e9:.2f} GB to download, but only {free / 1e9:.2f} GB are free'
        )


def _authorization(url: str) -> dict[str, str]:
    """HF_TOKEN for the Hub, and for it alone; for another host its own entry in ~/.netrc, or
    in the file that NETRC names."""
    if url.startswith('https://huggingface.co/'):
        token = os.environ.get('HF_TOKEN')
        return {'Authorization': f'Bearer {token}'} if token else {}
    path = Path(os.environ.get('NETRC') or '~/.netrc').expanduser()
    try:
        entry = netrc.netrc(path).hosts.get(urlsplit(url).hostname or '')
    except OSError:
        return {}
    except netrc.NetrcParseError as error:  # its message may quote the file
        raise UserError(f'{path}:{error.lineno}: not the form of a netrc file') from None
    if entry is None:
        return {}
    login, _, password = entry
    secret = base64.b64encode(f'{login}:{password}'.encode()).decode()
    return {'Authorization': f'Basic {secret}'}


def _meaning(status: int) -> str:
    if status == 404:
        return 'not found (404); check the name, DownloadConfig.revision and DownloadConfig.mirror'
    if status in (401, 403):
        return (
            f'access refused ({status}); a private or gated repository needs HF_TOKEN, '
            'a mirror its entry in ~/.netrc'
        )
    return f'HTTP {status}'

"""A stage's output folder: written whole or not at all, with its config, hashes and lineage.

    with manifest.output(folder, 'score', configs) as out:
        out.read('predictions', config.predictions)      # verified, and hashed into the manifest
        (out.folder / 'scores.json').write_text(...)
        out.counts['sentences'] = 1016

On success `config.gin` and `manifest.json` lie beside the result. A stage that is not resumable
writes into a hidden sibling that is renamed at the end; a resumable one writes in place and its
manifest comes last, so a folder without a manifest is unfinished.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fsa_jax import configs as configs_lib
from fsa_jax import environment, lock
from fsa_jax.errors import UserError
from fsa_jax.hosts import Hosts

MANIFEST = 'manifest.json'
CONFIG = 'config.gin'
UNFINISHED = '.job.json'  # in the folder of a run that is not finished


class AlreadyDone(Exception):
    """The folder holds this very job, finished. Not an error: the command line says so and exits 0."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a stage works: a folder, and what Output holds of a URL that the folder is copied to."""

    folder: Path
    flush: Callable[[], None] = lambda: None
    checkpoints: str = ''


@dataclasses.dataclass
class Output:
    """What a stage writes to: its folder, and what the manifest will say.

    Of several processes (`hosts`), only `hosts.main` writes, but for what each writes of its own. `earlier`
    has the sha256, by name, of the inputs that what lies in the folder already was made from. Of an
    output at a URL (fsa_jax/mirror.py), `flush` copies there what lies in the folder now, and
    `checkpoints` is where checkpoints go directly, '' where they too go by the folder.
    """

    folder: Path
    hosts: Hosts = dataclasses.field(default_factory=Hosts)
    inputs: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    counts: dict[str, Any] = dataclasses.field(default_factory=dict)
    devices: Iterable[Any] = ()  # what the stage computed on: jax.devices()
    flush: Callable[[], None] = lambda: None
    checkpoints: str = ''
    earlier: dict[str, str] = dataclasses.field(default_factory=dict)

    def read(self, name: str, path: str | Path, whence: str = '') -> Path:
        """Names an input of the stage: it must exist, and its hash enters the manifest.

        Every process must have read the same, and where the input is a file or finished by a stage so must
        the starts that this one goes on from: UserError else. To other folders files are added, this very
        output perhaps. `whence` is the URL that `path` is a copy of.
        """
        path = Path(path)
        if not path.exists():
            raise UserError(
                f'{name}: expected a file or folder at {str(path)!r}, which does not exist'
            )
        sha256 = digest(path)
        self.hosts.agree('input', {f'the sha256 of {name}': sha256})
        if _is_whole(path):
            self.hosts.first(lambda: self._note(name, sha256))
        self.inputs[name] = {'path': whence or str(path), 'sha256': sha256}
        return path

    def _note(self, name: str, sha256: str) -> None:
        """Keeps the hash of an input for the next start, unless an earlier one read another: paths may change."""
        before = self.earlier.get(name, sha256)
        if before != sha256:
            raise UserError(
                f'--output={self.folder} was begun from another {name} (its hash was {before[:12]}…, '
                f'now it is {sha256[:12]}…); bring that one back, choose another folder or --overwrite'
            )
        note = self.folder / UNFINISHED
        told = json.loads(note.read_text())
        told['inputs'][name] = sha256
        write_atomic(note, json.dumps(told))


def write_atomic(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all: a temporary sibling, fsync, rename."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(temporary, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def digest(path: Path) -> str:
    """Hex sha256 of a file; of a stage's folder, that of its manifest's content; else of all its files."""
    if path.is_file():
        return file_sha256(path)
    return hashlib.sha256(json.dumps(_files(path), sort_keys=True).encode()).hexdigest()


def _is_whole(path: Path) -> bool:
    """Whether an input is a file, or a folder that a stage has finished: such are not added to."""
    return path.is_file() or find(path) is not None


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    """Bytes and hash of every file by its relative path, as the manifest tells where there is one."""
    there = find(folder)
    return there['files'] if there else _hash_files(folder)


def _hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            found |= {f'{path.name}/{name}': entry for name, entry in _files(path).items()}
        elif path.is_file() and path.name not in (CONFIG, UNFINISHED):
            found[path.name] = {'bytes': path.stat().st_size, 'sha256': file_sha256(path)}
    return found


def find(folder: str | Path) -> dict[str, Any] | None:
    """The manifest of a finished stage; None where no stage finished in `folder`."""
    return _told(Path(folder) / MANIFEST)


def read(folder: str | Path) -> dict[str, Any]:
    """The manifest of a finished stage; UserError where there is none."""
    content = find(folder)
    if content is None:
        why = f'it has no {MANIFEST} of a stage' if Path(folder).exists() else 'it does not exist'
        raise UserError(f'{folder} is not a finished output of `fsa`: {why}')
    return content


def _told(path: Path) -> dict[str, Any] | None:
    """What a manifest, or the note of an unfinished job, says; None where there is none of a stage:
    others too call a file manifest.json."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UserError(f'{path} is damaged: {error}') from None
    return content if isinstance(content, dict) and {'stage', 'knobs'} <= content.keys() else None


def verify(folder: Path, under: str = '') -> None:
    """Every file of a finished stage is there and has its hash; UserError names the first that differs.

    `under` limits it to the files whose relative path begins so.
    """
    for name, expected in read(folder)['files'].items():
        if not name.startswith(under):
            continue
        path = Path(folder) / name
        if not path.is_file():
            raise UserError(f'{path} is missing: the manifest of {folder} lists it')
        if path.stat().st_size != expected['bytes'] or file_sha256(path) != expected['sha256']:
            raise UserError(f'{path} is damaged: its hash differs from the manifest of {folder}')


def knobs(configs, *, free: bool = False) -> dict[str, Any]:
    """The knobs that decide what is computed, and those that do not if `free`, as JSON holds them."""
    named = {
        f'{type(config).__name__}.{field.name}': getattr(config, field.name)
        for config in configs
        for field in dataclasses.fields(config)
        if free or not field.metadata['free']
    }
    return json.loads(json.dumps(named))


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [k for k in new if old.get(k) != new[k]]
    return ', '.join(f'{k}={old.get(k)!r} there, {new[k]!r} now' for k in changed[:3])


@contextlib.contextmanager
def output(
    folder: str | Path,
    stage: str,
    configs,
    *,
    resumable: bool = False,
    overwrite: bool = False,
    hosts: Hosts | None = None,
) -> Iterator[Output]:
    """Opens `folder` for one stage run; see the module docstring.

    Raises AlreadyDone when the folder holds this very job finished, UserError when it holds another or
    an input has changed since, when another run is writing there, or when the processes of `hosts` were not given the same job.
    The processes leave together, when the manifest is written.
    """
    folder, hosts = Path(folder), hosts or Hosts()
    if not folder.name:
        raise UserError(f'--output={folder} has no name of its own; choose another folder')
    fixed = knobs(configs)
    hosts.agree('config', {'stage': stage, '--output': str(folder), **knobs(configs, free=True)})
    work = folder if resumable else folder.with_name(f'.{folder.name}.partial')
    with contextlib.ExitStack() as stack:

        def begin() -> dict[str, str]:
            stack.enter_context(lock.held(folder))
            return _open(folder, work, stage, configs, fixed, overwrite)

        out = Output(work, hosts, earlier=hosts.first(begin))
        started = time.time()
        try:
            yield out
        except BaseException:
            if hosts.main and (not resumable or _holds_nothing(work)):
                shutil.rmtree(work, ignore_errors=True)
            raise
        if hosts.main:
            _finish(out, folder, stage, configs, fixed, time.time() - started)
        # Hashing may take longer than JAX, at its end, lets a process wait for another.
        hosts.barrier('finished')


def _open(folder: Path, work: Path, stage: str, configs, fixed, overwrite: bool) -> dict[str, str]:
    """Makes `work` ready; the sha256 by name of each input that what an earlier run left there is made from."""
    if overwrite and _is_output(folder):
        shutil.rmtree(folder)
    _refuse_other_job(folder, stage, fixed)
    if work != folder and work.exists():
        shutil.rmtree(work)  # left by a killed run
    work.mkdir(parents=True, exist_ok=True)
    told = None if _holds_nothing(work) else _told(work / UNFINISHED)
    earlier = (told or {}).get('inputs', {})
    # it comes first and goes last, after the manifest: a folder with neither would be nobody's
    note = {'stage': stage, 'knobs': fixed, 'inputs': earlier}
    write_atomic(work / UNFINISHED, json.dumps(note))
    write_atomic(work / CONFIG, _config_text(stage, configs))
    return earlier


def _holds_nothing(work: Path) -> bool:
    return {p.name for p in work.rglob('*') if not p.is_dir()} <= {CONFIG, UNFINISHED}


def _is_output(folder: Path) -> bool:
    """Whether a stage wrote the folder: nothing else is ever deleted."""
    return bool(find(folder) or _told(folder / UNFINISHED))


def _refuse_other_job(folder: Path, stage: str, fixed: dict[str, Any]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f'--output={folder} is a file; expected a folder')
    finished = find(folder)
    there = finished or _told(folder / UNFINISHED)
    if there is None:
        if any(not path.match(f'.{UNFINISHED}.*.tmp') for path in folder.iterdir()):
            raise UserError(
                f'--output={folder} holds files of something else; choose an empty or new folder'
            )
        return
    if there['stage'] != stage or there['knobs'] != fixed:
        why = (
            f'stage {there["stage"]!r}'
            if there['stage'] != stage
            else _difference(there['knobs'], fixed) or 'other knobs'
        )
        raise UserError(
            f'--output={folder} holds another job ({why}); choose another folder or --overwrite'
        )
    if finished:
        for name, read in finished['inputs'].items():
            path = Path(read['path'])
            if path.exists() and _is_whole(path) and digest(path) != read['sha256']:
                raise UserError(
                    f'--output={folder} is finished, but {name} has changed since ({path}); choose another '
                    'folder or --overwrite'
                )
        raise AlreadyDone(f'{folder} is finished already (its {MANIFEST} matches this config)')


def _config_text(stage: str, configs) -> str:
    return f'# fsa {stage} --gin_file=config.gin --output=...\n\n' + configs_lib.to_gin(configs)


def _finish(out: Output, folder: Path, stage: str, configs, fixed, seconds: float) -> None:
    content = {
        'stage': stage,
        'knobs': fixed,
        'inputs': out.inputs,
        'counts': out.counts,
        'files': _hash_files(out.folder),
        'machine': environment.machine(out.devices),
        'versions': environment.versions(),
        'wall_seconds': round(seconds, 3),
        'finished': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
    }
    write_atomic(out.folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + '\n')
    (out.folder / UNFINISHED).unlink()
    if out.folder != folder:
        if folder.exists():
            folder.rmdir()  # only an empty one passes _refuse_other_job
        out.folder.rename(folder)

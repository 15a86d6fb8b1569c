"""A finished stage's folder that lies on any fsspec path, copied whole to this host and checked."""

import os
import shutil
from pathlib import Path

import fsspec

from fsa_jax import manifest
from fsa_jax.errors import UserError
from fsa_jax.progress import track


def staged(folder: str, cache: str) -> Path:
    """`folder` itself, or of a URL (gs://, s3://, …) this host's copy below `cache` (empty:
    ~/.cache/fsa_jax/staged), every file of it checked against the hashes of its manifest.

    A copy is kept under the hash of the manifest, so that the next start copies nothing.

    Raises:
      UserError: there is nothing finished at the URL, no package reads it, or a file differs.
    """
    if '://' not in folder:
        return Path(folder)
    root = Path(cache) if cache else Path.home() / '.cache' / 'fsa_jax' / 'staged'
    root.mkdir(parents=True, exist_ok=True)
    content, fetch = _manifest(folder)
    # Apart from a copy that another process of this host may be making.
    partial = root / f'.{os.getpid()}.partial'
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        (partial / manifest.MANIFEST).write_bytes(content)
        target = root / manifest.digest(partial)[:32]
        if not target.exists():
            _copy(folder, partial, fetch)
            manifest.verify(partial)
            _publish(partial, target)
        return target
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _manifest(folder: str):
    """(the manifest's bytes, fetch(name, path) for its files)."""
    try:
        files, root = fsspec.url_to_fs(folder)
        content = files.cat_file(f'{root.rstrip("/")}/{manifest.MANIFEST}')
    except FileNotFoundError:
        raise UserError(f'{folder} is not a finished output of `fsa`: it has no manifest') from None
    except (ImportError, ValueError) as error:
        raise UserError(f'{folder}: {error}') from None

    def fetch(name: str, path: Path) -> None:
        files.get_file(f'{root.rstrip("/")}/{name}', str(path))

    return content, fetch


def _copy(folder: str, target: Path, fetch) -> None:
    listed = manifest.read(target)['files']
    total = sum(file['bytes'] for file in listed.values()) / 1e6
    with track(f'copy {folder}', total, 'MB') as bar:
        for name, file in listed.items():
            path = target / name
            if target not in path.resolve().parents:
                raise UserError(f'{folder}: its manifest lists {name!r}, which lies outside of it')
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fetch(name, path)
            except FileNotFoundError:
                raise UserError(f'{folder}/{name} is missing: the manifest lists it') from None
            bar.update(file['bytes'] / 1e6)


def _publish(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
    except OSError:
        if not target.exists():  # else another process of this host was first
            raise

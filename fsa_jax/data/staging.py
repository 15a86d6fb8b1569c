"""A finished stage's folder that lies on any fsspec path, copied whole to this host and checked."""

import os
import platform
import shutil
from pathlib import Path

from fsa_jax import manifest
from fsa_jax.errors import UserError
from fsa_jax.mirror import Store
from fsa_jax.progress import track


def staged(folder: str, cache: str) -> Path:
    """`folder` itself, or of a URL (gs://, s3://, …) this host's copy below `cache` (empty:
    ~/.cache/fsa_jax/staged), every file of it checked against the hashes of its manifest.

    A copy is kept under the hash of the manifest, so that the next start copies nothing.

    Raises:
      UserError: there is nothing finished at the URL, it refuses, no package reads it, or a file differs.
    """
    if '://' not in folder:
        return Path(folder)
    root = Path(cache) if cache else Path.home() / '.cache' / 'fsa_jax' / 'staged'
    root.mkdir(parents=True, exist_ok=True)
    store = Store(folder)
    content = store.read(manifest.MANIFEST)
    if content is None:
        raise UserError(f'{folder} is not a finished output of `fsa`: it has no manifest')
    # Apart from a copy that another process may be making: of this host, or of one with the same home.
    partial = root / f'.{platform.node()}.{os.getpid()}.partial'
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        (partial / manifest.MANIFEST).write_bytes(content)
        target = root / manifest.digest(partial)[:32]
        if not target.exists():
            _copy(store, partial)
            manifest.verify(partial)
            _publish(partial, target)
        return target
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy(store: Store, target: Path) -> None:
    listed = manifest.read(target)['files']
    total = sum(file['bytes'] for file in listed.values()) / 1e6
    with track(f'copy {store.url}', total, 'MB') as bar:
        for name, file in listed.items():
            path = target / name
            if target.resolve() not in path.resolve().parents:
                raise UserError(
                    f'{store.url}: its manifest lists {name!r}, which lies outside of it'
                )
            try:
                store.get(name, path)
            except FileNotFoundError:
                raise UserError(f'{store.url}/{name} is missing: the manifest lists it') from None
            bar.update(file['bytes'] / 1e6)


def _publish(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
    except OSError:
        if not target.exists():  # else another process of this host was first
            raise

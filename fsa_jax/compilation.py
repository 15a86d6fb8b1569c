"""The persistent cache of compiled programs."""

from pathlib import Path

import jax

from fsa_jax import gcs
from fsa_jax.errors import UserError


def cache_programs(folder: str) -> None:
    """Keeps programs that took over 0.3 s to compile, so that the next start is quick.

    `folder` may be a URL: file://, or gs:// (which JAX opens by etils' epath, with gcsfs); empty:
    ~/.cache/fsa_jax/xla. In it each topology has a folder of its own. Holds for the rest of the
    process. UserError where it is another URL, or gcsfs is not there.

    Several processes on CPUs keep none: what they read back computes other numbers, or never ends
    (jax 0.10.2; the collectives of a program that was kept come out of step between processes).
    """
    root = folder.removeprefix('file://') or str(Path.home() / '.cache' / 'fsa_jax' / 'xla')
    if '://' in root and not root.startswith('gs://'):
        raise UserError(f'compilation_cache: expected a folder, file:// or gs://; got {folder!r}')
    if jax.process_count() > 1 and jax.default_backend() == 'cpu':
        return
    if '://' in root:
        gcs.open_by_gcsfs()
    jax.config.update('jax_compilation_cache_dir', f'{root.rstrip("/")}/{topology()}')
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)


def topology() -> str:
    """What programs are compiled for: the kind of device, how many, and of how many processes."""
    kind = jax.devices()[0].device_kind.replace(' ', '_').lower()
    return f'{kind}-{jax.device_count()}-{jax.process_count()}'

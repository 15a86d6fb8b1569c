"""The persistent cache of compiled programs."""

from pathlib import Path

import jax


def cache_programs(folder: str) -> None:
    """Keeps programs that took over a second to compile, so that the next start is quick.

    `folder` empty: ~/.cache/fsa_jax/xla. Holds for the rest of the process.
    """
    path = Path(folder) if folder else Path.home() / '.cache' / 'fsa_jax' / 'xla'
    jax.config.update('jax_compilation_cache_dir', str(path))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 1.0)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)

"""The dataset card of a corpus: README.md, whose front matter tells datasets which files are which split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsa_jax import manifest
from fsa_jax.configs import CorpusConfig, FilterConfig
from fsa_jax.corpus.quality_page import render
from fsa_jax.corpus.shards import PARQUET

_SIZES = {
    1_000: 'n<1K',
    10_000: '1K<n<10K',
    100_000: '10K<n<100K',
    1_000_000: '100K<n<1M',
    10_000_000: '1M<n<10M',
}


def write(
    folder: Path,
    quality: Mapping[str, Any],
    splits: Mapping[str, int],
    corpus: CorpusConfig,
    config: FilterConfig,
) -> None:
    """Writes README.md; `splits` are the examples of each."""
    size = next((name for limit, name in _SIZES.items() if quality['examples'] < limit), 'n>10M')
    page = {
        'quality': quality,
        'splits': splits,
        'files': {s: f'{PARQUET}/{s}-*.parquet' for s in splits} if corpus.parquet else {},
        'size': size,
        'targets': corpus.targets,
        'filter': config.filter,
    }
    manifest.write_atomic(folder / 'README.md', render('card.md.j2', page))

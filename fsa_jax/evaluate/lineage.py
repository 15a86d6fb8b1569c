"""Where a result comes from: manifests, followed from each output to its inputs."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsa_jax import manifest
from fsa_jax.urls import public

_MIRROR = re.compile(r"(?<=^DownloadConfig\.mirror = ')[^']+", re.MULTILINE)  # a host of one's own


@dataclass(frozen=True)
class Node:
    """An output folder or a file, with what its manifest says and what it was made from.

    `path` and the paths in `config` are as `shown`, its URLs without secrets, a mirror left out.
    `state` is empty, or says that it is missing, unfinished, or changed since it was read; a node
    whose `repeated` is set was met before, and is not followed again.
    """

    name: str
    path: str
    sha256: str = ''
    stage: str = ''
    config: str = ''
    counts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ''
    state: str = ''
    repeated: bool = False
    inputs: tuple['Node', ...] = ()
    folder: Path = Path()  # `path` as it is on this machine


def shown(path: str | Path, base: Path) -> str:
    """A path as a page shows it that leaves this machine: absolute ones from `base` on, or their
    last part alone."""
    path = Path(path)
    if not path.is_absolute():
        return str(path)
    return str(path.relative_to(base)) if path.is_relative_to(base) else path.name


def trace(name: str, path: str, sha256: str, seen: set[str], base: Path) -> Node:
    """The node of `path`, whose hash was `sha256` when it was read; `seen` collects what was met."""
    folder, path = Path(path), shown(path, base)
    if not folder.exists():
        return Node(name, path, sha256, state='missing')
    config = folder / manifest.CONFIG
    text = config.read_text(encoding='utf-8') if config.is_file() else ''
    text = re.sub(r"(?<=')/[^']*(?=')", lambda match: shown(match[0], base), public(text))
    text = _MIRROR.sub('…', text)
    content = manifest.find(folder)
    if content is None:
        return Node(name, path, sha256, config=text, state='unfinished' if text else '')
    repeated = f'{folder} {sha256}' in seen
    seen.add(f'{folder} {sha256}')
    return Node(
        name,
        path,
        sha256,
        stage=content['stage'],
        config=text,
        counts=content['counts'],
        versions=content['versions'],
        seconds=content['wall_seconds'],
        finished=content['finished'],
        state='' if manifest.digest(folder) == sha256 else 'changed since it was read',
        repeated=repeated,
        inputs=()
        if repeated
        else tuple(
            trace(key, value['path'], value['sha256'], seen, base)
            for key, value in content['inputs'].items()
        ),
        folder=folder,
    )

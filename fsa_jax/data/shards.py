"""The shards of one `fsa teach` job: are they all there, and of the same job? Standard library only."""

import hashlib
import json
from pathlib import Path
from typing import Any

from fsa_jax import manifest
from fsa_jax.errors import UserError

_SHARD = 'TeacherConfig.shard'


def job_of(knobs: dict[str, Any], inputs: dict[str, dict[str, str]]) -> str:
    """Hash of what all shards of a job have in common: every knob but the shard, and the content read."""
    common = {name: value for name, value in knobs.items() if name != _SHARD}
    read = {name: of['sha256'] for name, of in inputs.items()}
    return hashlib.sha256(json.dumps([common, read], sort_keys=True).encode()).hexdigest()[:16]


def check_shards(path: str | Path) -> None:
    """UserError unless the outputs of `fsa teach` in a folder are finished, whole, and every shard of
    one job. A folder that holds none of them passes: published answers have no manifests."""
    path = Path(path)
    if not path.is_dir():
        return
    for begun in sorted(path.rglob(manifest.UNFINISHED)):
        finished = (begun.parent / manifest.MANIFEST).is_file()
        if not finished and json.loads(begun.read_text())['stage'] == 'teach':
            raise UserError(f'{begun.parent} is not finished: run the same `fsa teach` again')
    jobs: dict[str, dict[int, Path]] = {}
    counts: dict[str, int] = {}
    for file in sorted(path.rglob(manifest.MANIFEST)):
        content = manifest.find(file.parent)
        if content and content['stage'] == 'teach':
            _check_files(file.parent, content['files'])
            job, (index, count) = (
                content['counts']['job'],
                map(int, content['counts']['shard'].split('/')),
            )
            if counts.setdefault(job, count) != count:
                raise UserError(
                    f'{path} holds shards of {counts[job]} and of {count} of one job: {file.parent} is '
                    f'{index}/{count}; keep those of one number'
                )
            if index in jobs.setdefault(job, {}):
                raise UserError(
                    f'{file.parent} and {jobs[job][index]} are the same shard, {index}/{count}'
                )
            jobs[job][index] = file.parent
    for job, shards in jobs.items():
        missing = [f'{i}/{counts[job]}' for i in range(counts[job]) if i not in shards]
        if missing:
            raise UserError(
                f'{path}: shards {", ".join(missing[:5])} are missing; found {len(shards)}'
            )


def _check_files(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Existence and size alone: hashing two million answers takes as long as reading them."""
    for name, expected in files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != expected['bytes']:
            raise UserError(f'{file} is missing or cut: the manifest of {folder} lists it')

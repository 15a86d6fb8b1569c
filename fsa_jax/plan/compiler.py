"""Asks the TPU compiler about a program, in a process of its own; answers are kept in a folder."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from fsa_jax.environment import versions
from fsa_jax.errors import UserError
from fsa_jax.manifest import write_atomic
from fsa_jax.plan.program import Knobs
from fsa_jax.plan.topology import Slices

Effort = Literal['full', 'quick']
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ('jax', 'flax', 'optax')
_MISSING = (
    'fsa plan needs libtpu, the TPU compiler (no TPU is needed): run ./launch/plan.sh, which installs '
    'it beside the environment, or set FSA_LIBTPU to a folder that holds libtpu/libtpu.so'
)
# What the partitioner says where it cannot go from one sharding to another without a whole copy.
_INVOLUNTARY = 'nvoluntary full remat'


def find_libtpu() -> Path:
    """libtpu.so: of FSA_LIBTPU, of .libtpu in the checkout, or installed. UserError names the command.

    It is not a dependency: where it is installed without a TPU, every jax program complains.
    """
    named = os.environ.get('FSA_LIBTPU')
    folders = [Path(named)] if named else [_ROOT / '.libtpu']
    if not named and (spec := importlib.util.find_spec('libtpu')) and spec.origin:
        folders.append(Path(spec.origin).parent.parent)
    for folder in folders:
        library = folder / 'libtpu' / 'libtpu.so'
        if library.is_file():
            return library
    raise UserError(_MISSING)


def libtpu_version(library: Path) -> str:
    """Of the distribution that the library came with, '' where it does not say."""
    found = sorted(library.parent.parent.glob('libtpu-*.dist-info'))
    return found[0].name.removeprefix('libtpu-').removesuffix('.dist-info') if found else ''


def ask(knobs: Knobs, slices: Slices, kept: Path, effort: Effort = 'full') -> dict[str, Any]:
    """What the compiler answers (see worker.py), from the folder `kept` where it has been asked before.

    The same question is the same configs, slices and versions. UserError where the configs do not
    fit the slices, or the compiler crashes.
    """
    library = find_libtpu()
    request = {
        'knobs': knobs.to_json(),
        'slices': {'chip_name': slices.chip_name, 'shape': slices.shape, 'count': slices.count},
        'effort': effort,
    }
    asked = request | {'versions': versions(_PACKAGES), 'libtpu': libtpu_version(library)}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]
    path = kept / f'{key}.json'
    if path.is_file():
        return json.loads(path.read_text())['answer']
    answer = _run(request, library)
    kept.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({'asked': asked, 'answer': answer}, indent=1))
    return answer


def environment(library: Path) -> dict[str, str]:
    """That of a process which compiles for TPUs without one."""
    return os.environ | {
        'JAX_PLATFORMS': 'cpu',
        'TPU_LIBRARY_PATH': str(library),
        'TPU_SKIP_MDS_QUERY': '1',
        'TPU_STDERR_LOG_LEVEL': '1',  # libtpu's warnings, which else go to files of its own alone
        'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
        'XLA_FLAGS': '',
        'JAX_DISABLE_MOST_OPTIMIZATIONS': '0',
        'PYTHONPATH': os.pathsep.join(filter(None, [str(_ROOT), os.environ.get('PYTHONPATH')])),
    }


def _run(request: dict[str, Any], library: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / 'answer.json'
        done = subprocess.run(
            [sys.executable, '-m', 'fsa_jax.plan.worker', str(told)],
            input=json.dumps(request),
            env=environment(library),
            capture_output=True,
            text=True,
            check=False,
        )
        if not told.is_file():
            raise UserError(
                f'the TPU compiler itself failed ({_last_line(done)}); another T5Config.remat, '
                "PlanConfig.effort='full' or another libtpu may do"
            )
        answer = json.loads(told.read_text())
    if 'error' in answer:
        raise UserError(answer['error'])
    answer['warnings'] = involuntary(done.stderr)
    return answer


def involuntary(stderr: str) -> list[str]:
    """The partitioner's warnings that it copies an array whole to every chip, each once."""
    found = [
        line.partition('] ')[2] or line for line in stderr.splitlines() if _INVOLUNTARY in line
    ]
    return sorted({line[:400] for line in found})


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return f'exit status {done.returncode}: {lines[-1][:300] if lines else "no message"}'

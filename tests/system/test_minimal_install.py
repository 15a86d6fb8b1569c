"""Training must run where TensorFlow, seqio, gin, vLLM, torch and transformers are not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name('minimal_run.py')


def run(python: str, folder: Path, spiece: Path) -> None:
    # Without the tests' XLA_FLAGS (conftest.py): the XLA of the core lock ends at a flag it does not know.
    env = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
    command = [python, SCRIPT, folder, spiece]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parents[2], env=env)
    assert 'minimal run: ok' in done.stdout, done.stderr[-3000:]
    assert (folder / 'export' / 'model.safetensors').exists()


def test_train_predict_score_export_with_the_heavy_packages_blocked(tmp_path, tiny_spiece):
    run(sys.executable, tmp_path, tiny_spiece)


def test_the_same_on_the_core_lock(tmp_path, tiny_spiece):
    """Python 3.12, jax 0.11.2, nothing but requirements-core.lock."""
    python = os.environ.get('FSA_CORE_PYTHON')
    if not python:
        pytest.skip('no Python 3.12: launch/test.sh makes .venv-core where there is one')
    run(python, tmp_path, tiny_spiece)

"""The wheel holds what an installed `fsa` needs beside its code: run files, templates, the marker of types."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import REPOSITORY

SOURCES = ('pyproject.toml', 'README.md', 'LICENSE', 'fsa_jax', 'tasks', 'gin_configs')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """Built from a copy of the sources, without a package index."""
    pytest.importorskip('setuptools', minversion='77')
    source = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, source / name)
    options = ['--no-deps', '--no-build-isolation', '--no-index', '-q', '-w', str(source / 'dist')]
    command = [sys.executable, '-m', 'pip', 'wheel', *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = (source / 'dist').glob('fsa_jax-*.whl')
    return path


def test_every_file_of_the_packages_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if '.dist-info/' not in name}
    there = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ('fsa_jax', 'tasks', 'gin_configs')
        for path in (REPOSITORY / folder).rglob('*')
        if path.is_file() and path.suffix != '.pyc'
    }
    assert packed == there


def test_an_installed_stage_finds_the_run_files(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'site')
    done = subprocess.run(
        [sys.executable, '-m', 'fsa_jax.cli', 'demo', '--gin_file=run/quickstart.gin', '--dry-run'],
        cwd=tmp_path, env=os.environ | {'PYTHONPATH': str(tmp_path / 'site')},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'DemoConfig.seeds' in done.stdout

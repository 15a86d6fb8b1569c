"""The launch scripts: what they would do, and what they say when they cannot."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import REPOSITORY

SCRIPTS = {
    'quickstart.sh': ([], 'fsa demo --gin_file=run/quickstart.gin'),
    'real_smoke.sh': (['.'], 'fsa demo --gin_file=run/real_smoke.gin'),
    'teacher.sh': (['--shard=0/8'], 'fsa teach --shard=0/8'),
    'test.sh': (['tests/unit'], 'python -m pytest tests/unit'),
    'bench.sh': (['packing'], 'python -m tests.bench.packing'),
}


def launch(root, script, *arguments, **variables):
    return subprocess.run(
        [root / 'launch' / script, *arguments], cwd=root, env=os.environ | variables,
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_dry_run_prints_the_command(script):
    arguments, command = SCRIPTS[script]
    done = launch(REPOSITORY, script, '--dry-run', *arguments)
    assert done.returncode == 0, done.stderr
    assert command in done.stdout


def test_a_missing_data_folder_is_one_line():
    for arguments, message in (
        ((), 'needs the data folder'),
        (('/no/where',), 'there is no folder'),
    ):
        done = launch(REPOSITORY, 'real_smoke.sh', *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_without_a_package_index_there_is_one_clear_line(tmp_path):
    shutil.copytree(REPOSITORY / 'launch', tmp_path / 'launch')
    for name in ('pyproject.toml', 'requirements.lock'):
        shutil.copy(REPOSITORY / name, tmp_path)
    nothing = {'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': '', 'UV_NO_INDEX': '1', 'UV_FIND_LINKS': ''}
    nothing |= {'HOME': str(tmp_path), 'UV_CACHE_DIR': str(tmp_path / 'cache')}
    done = launch(tmp_path, 'quickstart.sh', **nothing)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith('making .venv')]
    assert len(told) == 1
    assert 'is a package index reachable?' in told[0]

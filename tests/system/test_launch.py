"""The launch scripts: what they would do, and what they say when they cannot."""

import os
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import REPOSITORY

SCRIPTS = {
    'quickstart.sh': ([], 'fsa demo --gin_file=run/quickstart.gin'),
    'real_smoke.sh': (['.'], 'fsa demo --gin_file=run/real_smoke.gin'),
    'teacher.sh': (['--shard=0/8'], 'fsa teach --shard=0/8'),
    'plan.sh': (['--topology=v5e:4x4'], 'fsa plan --topology=v5e:4x4'),
    'test.sh': (
        ['tests/unit'],
        'python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/unit',
    ),
    'chaos.sh': ([], 'python -m tests.chaos'),
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


def test_a_build_of_vllm_that_is_none_is_one_line():
    done = launch(REPOSITORY, 'teacher.sh', '--dry-run', FSA_VLLM='tpu')
    assert (done.returncode, done.stderr) == (2, 'teacher.sh: FSA_VLLM=tpu: expected gpu or cpu\n')


@pytest.mark.parametrize(
    ('script', 'build', 'installs'),
    [
        ('teacher.sh', 'gpu', 2),  # lock, fsa_jax
        ('teacher.sh', 'cpu', 3),  # and torch
        ('plan.sh', '', 3),  # and libtpu, beside it
    ],
)
def test_tasks_that_start_at_once_make_one_environment(script, build, installs, tmp_path):
    shutil.copytree(REPOSITORY / 'launch', tmp_path / 'launch')
    for path in (REPOSITORY / 'pyproject.toml', *REPOSITORY.glob('requirements*')):
        shutil.copy(path, tmp_path)
    plan = tomllib.loads((tmp_path / 'pyproject.toml').read_text())['project'][
        'optional-dependencies'
    ]['plan'][0]
    libtpu = f'{tmp_path}/.libtpu/{plan.partition(";")[0].strip().replace("==", "-")}.dist-info'
    stubs = {
        'uv': f'case "$*" in *--target*) mkdir -p {libtpu} ;; esac\n'
        f'echo begun >>{tmp_path}/log; sleep 0.5; echo ended >>{tmp_path}/log',
        'fsa': '',
    }
    (tmp_path / 'bin').mkdir()
    for name, does in stubs.items():
        (tmp_path / 'bin' / name).write_text(f'#!/bin/sh\n{does}\n')
        (tmp_path / 'bin' / name).chmod(0o755)
    path = f'{tmp_path}/bin{os.pathsep}{os.environ["PATH"]}'
    started = [
        subprocess.Popen(
            [tmp_path / 'launch' / script],
            env={k: v for k, v in os.environ.items() if k != 'FSA_LIBTPU'}
            | {'PATH': path, 'FSA_VLLM': build, 'PYTHON': sys.executable},
        )
        for _ in range(3)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert (tmp_path / 'log').read_text().split() == ['begun', 'ended'] * installs


def test_without_a_package_index_there_is_one_clear_line(tmp_path):
    shutil.copytree(REPOSITORY / 'launch', tmp_path / 'launch')
    for name in ('pyproject.toml', 'requirements.lock'):
        shutil.copy(REPOSITORY / name, tmp_path)
    nothing = {'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': '', 'UV_NO_INDEX': '1', 'UV_FIND_LINKS': ''}
    nothing |= {'UV_OFFLINE': '1', 'HOME': str(tmp_path), 'UV_CACHE_DIR': str(tmp_path / 'cache')}
    done = launch(tmp_path, 'quickstart.sh', **nothing)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith('making .venv')]
    assert len(told) == 1
    assert 'is a package index reachable?' in told[0]


@pytest.fixture
def recorded(tmp_path):
    """A checkout's launch folder whose Python, installer and `fsa` only write down their calls."""
    shutil.copytree(REPOSITORY / 'launch', tmp_path / 'launch')
    for name in ('pyproject.toml', 'requirements.lock'):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / 'bin').mkdir()
    calls = tmp_path / 'calls'
    fsa = f'#!/bin/sh\necho "fsa $*" >>{calls}\n'
    python = f"""#!/bin/sh
[ "$2" = venv ] || exit 0
echo "$*" >>{calls}
mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
printf '%s' '{fsa}' >"$3/bin/fsa" && chmod +x "$3/bin/fsa"
"""
    stubs = {'python': python, 'uv': f'#!/bin/sh\necho "uv $*" >>{calls}\n'}
    for name, content in stubs.items():
        (tmp_path / 'bin' / name).write_text(content)
        (tmp_path / 'bin' / name).chmod(0o755)
    variables = {
        'PYTHON': str(tmp_path / 'bin' / 'python'),
        'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}',
    }

    def call(*arguments):
        before = len(calls.read_text().splitlines()) if calls.exists() else 0
        done = launch(tmp_path, 'quickstart.sh', *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return [line.split()[0] for line in calls.read_text().splitlines()[before:]]

    return call


def test_an_environment_that_fits_its_lock_is_left_alone(recorded, tmp_path):
    assert recorded() == ['-m', 'uv', 'uv', 'fsa']  # made, the lock and this project installed
    assert recorded() == ['fsa']
    with open(tmp_path / 'requirements.lock', 'a') as lock:
        lock.write('# another version\n')
    assert recorded() == ['uv', 'uv', 'fsa']


def test_options_of_a_script_win_over_its_defaults(recorded, tmp_path):
    recorded('--output=mine', '--gin.DemoConfig.seeds=(0,)')
    last = (tmp_path / 'calls').read_text().splitlines()[-1]
    assert last.startswith('fsa demo --gin_file=run/quickstart.gin')
    assert last.endswith('--output=mine --gin.DemoConfig.seeds=(0,)')


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_is_the_comment_at_the_head(script):
    done = launch(REPOSITORY, script, '--help')
    assert done.returncode == 0
    assert f'./launch/{script}' in done.stdout
    assert 'set -euo' not in done.stdout

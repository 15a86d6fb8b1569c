"""docs/pods.md, followed line by line against recording stand-ins."""

import re
import subprocess

import kubernetes_validate
import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.system.cloud import ABSENT, Cloud

PAGE = REPOSITORY / 'docs' / 'pods.md'
ANSWERS = (
    {'match': 'filestore instances describe', 'stdout': '10.0.0.2\n'},
    ABSENT,
    {'match': 'queued-resources describe', 'stdout': 'ACTIVE\n'},
    {'match': 'get pods', 'stdout': 'pod/distil-slice-job-0-0-x\n'},
    {'match': 'get jobset', 'stdout': 'Completed'},
)


def commands() -> list[str]:
    """The commands of the page: indented lines, joined where a backslash says so."""
    text = re.sub(r' \\\n +', ' ', PAGE.read_text())
    return [line.strip() for line in text.splitlines() if line.startswith('    ')]


@pytest.fixture(scope='module')
def followed(tmp_path_factory) -> tuple[Cloud, str]:
    """The stand-ins after all commands of the page, and what was printed."""
    folder = tmp_path_factory.mktemp('page')
    cloud = Cloud(folder, *ANSWERS)
    # What would install or start something here is printed: other tests run it.
    here = re.compile(r'^(./launch/(?:plan.sh|worker.sh setup|local.sh|slurm.sh))')
    lines = [here.sub(r'\1 --dry-run', line) for line in commands()]
    script = 'set -euo pipefail\n' + '\n'.join(f'echo {n} >line\n{x}' for n, x in enumerate(lines))
    done = cloud.run('bash', '-s', input=script.replace('>line', f'>{folder}/line'))
    number = int((folder / 'line').read_text())
    assert done.returncode == 0, f'{lines[number]}\n{done.stderr}'
    assert number == len(lines) - 1
    return cloud, done.stdout


def test_every_command_of_the_page_succeeds_in_order(followed):
    cloud, printed = followed
    calls = cloud.calls()
    mounts = cloud.calls('sudo mount -o vers=3,nolock 10.0.0.2:/fsa /mnt/fsa')
    assert len(mounts) == 3, 'two copies and the setup of the workers'
    assert any('queued-resources create distil' in call for call in calls)
    assert any('start -- train' in call and '/mnt/fsa/runs/distilled' in call for call in calls)
    assert cloud.calls('queued-resources delete distil')
    assert cloud.calls('kubectl apply')
    assert '#SBATCH --nodes=2' in printed


@pytest.mark.parametrize('kind', ['instances', 'repositories', 'cluster'])
def test_the_page_takes_down_what_it_puts_up(kind, followed):
    cloud, _ = followed
    created, deleted = (
        {call.split(verb)[1].split()[0] for call in cloud.calls(f'{kind}{verb}')}
        for verb in (' create ', ' delete ')
    )
    assert created == deleted != set()


def test_what_the_commands_for_gke_use_is_made_before(followed):
    cloud, _ = followed
    volume, claim = yaml.safe_load_all((cloud.folder / 'applied.yaml').read_text())
    for manifest in (volume, claim):
        kubernetes_validate.validate(manifest, '1.31', strict=True)
    assert volume['spec']['nfs'] == {'server': '10.0.0.2', 'path': '/fsa'}
    assert claim['spec']['volumeName'] == volume['metadata']['name']
    text = '\n'.join(commands())
    assert set(re.findall(r'--claim=(\S+)', text)) == {claim['metadata']['name']}
    for secret in re.findall(r'--secret=(\S+)', text):
        assert cloud.calls(f'kubectl create secret generic {secret} ')
    calls = cloud.calls()
    for number, call in enumerate(calls):
        if call.startswith('docker push'):
            host, _, repository, *_ = call.split()[-1].split('/')
            assert f'gcloud auth configure-docker {host} --quiet' in calls[:number]
            made = f'gcloud artifacts repositories create {repository} '
            assert any(before.startswith(made) for before in calls[:number])


def test_the_setup_of_the_page_runs_again_on_a_machine_that_had_it(tmp_path):
    """As after a crash, or when an interrupted command is given again; NFS refuses a second mount."""
    (setup,) = [line for line in commands() if line.startswith('export MOUNT=')]
    mount = 'mount() { ! mountpoint && touch mounted; }; mountpoint() { [ -e mounted ]; }'
    script = f'{mount}; sudo() {{ case $1 in mount) "$@" ;; esac; }}; SHARE=10.0.0.2\n{setup}\n'
    script += 'eval "$MOUNT" && eval "$MOUNT"'
    done = subprocess.run(['bash', '-c', script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""docs/pods.md, followed line by line against recording stand-ins."""

import re
import subprocess

from tests.conftest import REPOSITORY
from tests.system.cloud import Cloud

PAGE = REPOSITORY / 'docs' / 'pods.md'
ANSWERS = (
    {'match': 'filestore instances describe', 'stdout': '10.0.0.2\n'},
    {'match': 'queued-resources describe', 'status': 1, 'times': 1},
    {'match': 'queued-resources describe', 'stdout': 'ACTIVE\n'},
    {'match': 'get pods', 'stdout': 'pod/distil-slice-job-0-0-x\n'},
    {'match': 'get jobset', 'stdout': 'Completed'},
)


def commands() -> list[str]:
    """The commands of the page: indented lines, joined where a backslash says so."""
    text = re.sub(r' \\\n +', ' ', PAGE.read_text())
    return [line.strip() for line in text.splitlines() if line.startswith('    ')]


def test_every_command_of_the_page_succeeds_in_order(tmp_path):
    cloud = Cloud(tmp_path, *ANSWERS)
    # What would install or start something here is printed: other tests run it.
    here = re.compile(r'^(./launch/(?:plan.sh|worker.sh setup|local.sh|slurm.sh))')
    lines = [here.sub(r'\1 --dry-run', line) for line in commands()]
    script = 'set -euo pipefail\n' + '\n'.join(f'echo {n} >line\n{x}' for n, x in enumerate(lines))
    script = script.replace('>line', f'>{tmp_path}/line')
    done = cloud.run('bash', '-s', input=script)
    number = int((tmp_path / 'line').read_text())
    assert done.returncode == 0, f'{lines[number]}\n{done.stderr}'
    assert number == len(lines) - 1

    calls = cloud.calls()
    mounts = cloud.calls('sudo mount 10.0.0.2:/fsa /mnt/fsa')
    assert len(mounts) == 3, 'two copies and the setup of the workers'
    assert any('queued-resources create distil' in call for call in calls)
    assert any('start -- train' in call and '/mnt/fsa/runs/distilled' in call for call in calls)
    assert cloud.calls('queued-resources delete distil')
    assert cloud.calls('kubectl apply')
    assert '#SBATCH --nodes=2' in done.stdout
    created = {call.split()[4] for call in cloud.calls('instances create')}
    deleted = {call.split()[4] for call in cloud.calls('instances delete')}
    assert created == deleted, 'the page takes down what it puts up'


def test_the_setup_of_the_page_runs_again_on_a_machine_that_had_it(tmp_path):
    """As after a crash, or when an interrupted command is given again; NFS refuses a second mount."""
    (setup,) = [line for line in commands() if line.startswith('export MOUNT=')]
    mount = 'mount() { ! mountpoint && touch mounted; }; mountpoint() { [ -e mounted ]; }'
    script = f'{mount}; sudo() {{ case $1 in mount) "$@" ;; esac; }}; SHARE=10.0.0.2\n{setup}\n'
    script += 'eval "$MOUNT" && eval "$MOUNT"'
    done = subprocess.run(['bash', '-c', script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

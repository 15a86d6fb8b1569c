"""The scripts that rent machines: what they would do, and what they do when the cloud fails."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.system.cloud import ABSENT, UNANSWERED, Cloud

GOLDEN = REPOSITORY / 'tests' / 'golden' / 'launch'
STAGE = ['--', 'train', '--gin_file=run/distil_t5_base.gin', '--output=gs://bucket/runs/one']
ON_TPU = ['--name=distil', '--topology=v5e:4x4', '--zone=us-west4-a']
TEACH = ['--', 'teach', '--gin.TeacherConfig.model=some/model', '--output=/data/generations']
DRY_RUNS = {
    'tpu_vm': [*ON_TPU, '--spot', '--setup=sudo mount /mnt/fsa', *STAGE],
    'queued_resource': [*ON_TPU, '--slices=2', '--project=mine', *STAGE],
    'gke': ['--name=distil', '--topology=v5e:4x4', '--image=example/fsa:1', *STAGE],
    'gke_multislice': [
        '--name=distil', '--topology=v5p:4x4x4', '--image=example/fsa:1', '--slices=2', '--spot',
        '--secret=tokens', '--claim=runs', *STAGE, "--gin.RowsConfig.rates={'a': 1.0, \"b\": 2.0}",
    ],
    'teacher_cluster_slurm': ['--on=slurm', '--name=teach', '--shards=4', '--gpus=4', *TEACH],
    'teacher_cluster_gke': [
        '--on=gke', '--name=teach', '--shards=4', '--gpus=8', '--image=example/teacher:1',
        '--claim=reviews', '--secret=tokens', '--spot', *TEACH,
    ],
    'slurm': ['--name=distil', '--nodes=2', '--gpus=8', '--partition=a100', *STAGE],
}  # fmt: skip


def script(name: str) -> str:
    return f'launch/{re.sub("_(multislice|slurm|gke)$", "", name)}.sh'


def dry_run(cloud: Cloud, name: str) -> str:
    done = cloud.run(script(name), '--dry-run', *DRY_RUNS[name])
    assert done.returncode == 0, done.stderr
    assert not cloud.calls(), 'a dry run calls nothing'
    return done.stdout.replace(str(cloud.folder), 'TMP').replace(str(REPOSITORY), 'ROOT')


@pytest.mark.parametrize('name', DRY_RUNS)
def test_a_dry_run_prints_the_golden_commands(name, tmp_path):
    """FSA_UPDATE_GOLDEN=1 rewrites them; read the difference."""
    printed = dry_run(Cloud(tmp_path), name)
    file = GOLDEN / f'{name}.txt'
    if os.environ.get('FSA_UPDATE_GOLDEN'):
        file.write_text(printed)
    assert printed == file.read_text()


# -- TPU VMs ---------------------------------------------------------------------------------------


def node(state: str, **rule) -> dict:
    return {'match': 'tpu-vm describe', 'stdout': f'{state}\n'} | rule


def queued(state: str, **rule) -> dict:
    return {'match': 'queued-resources describe', 'stdout': f'{state}\n'} | rule


READY, ACTIVE = node('READY'), queued('ACTIVE')
UP = {'tpu_vm': READY, 'queued_resource': ACTIVE}


def on_tpu(cloud: Cloud, name: str = 'tpu_vm', *options: str):
    return cloud.run(script(name), *ON_TPU, *options, *STAGE)


def changes(cloud: Cloud) -> list[str]:
    """What was rented and given back, in order."""
    return [word for c in cloud.calls() for word in c.split() if word in ('create', 'delete')]


def test_a_run_creates_installs_runs_follows_and_deletes(tmp_path):
    cloud = Cloud(tmp_path, ABSENT, READY)
    done = on_tpu(cloud)
    assert done.returncode == 0, done.stderr
    verbs = [re.search(r'tpu-vm (\w+)', call)[1] for call in cloud.calls()]
    assert verbs == ['describe', 'create', 'describe', 'scp', 'ssh', 'ssh', 'ssh', 'ssh', 'delete']
    commands = [call.split('--command=')[1] for call in cloud.calls('--command=')]
    assert 'worker.sh setup' in commands[0]
    assert commands[1].endswith(
        'start -- train --gin_file=run/distil_t5_base.gin --output=gs://bucket/runs/one'
    )
    assert commands[2].endswith('follow --lines=+1')
    assert commands[3].endswith('follow --lines=0')


def test_quota_denied_is_final_and_nothing_is_left_rented(tmp_path):
    denied = {'match': 'create', 'status': 1, 'stderr': "ERROR: Quota 'TPUV5sLitepod' exceeded\n"}
    cloud = Cloud(tmp_path, ABSENT, denied)
    done = on_tpu(cloud)
    assert done.returncode == 2
    assert 'ask for quota' in done.stderr.splitlines()[-1]
    assert len(cloud.calls('create')) == 1, 'no second try'


def test_a_folder_that_is_no_checkout_rents_nothing(tmp_path):
    shutil.copytree(REPOSITORY / 'launch', tmp_path / 'copy' / 'launch')
    cloud = Cloud(tmp_path)
    done = cloud.run(str(tmp_path / 'copy' / script('tpu_vm')), *ON_TPU, *STAGE)
    assert done.returncode == 2
    assert 'nothing was done' in done.stderr.splitlines()[-1]
    assert not cloud.calls()


def test_no_capacity_is_tried_again(tmp_path):
    full = {'match': 'create', 'status': 1, 'stderr': 'no more capacity in the zone\n', 'times': 2}
    cloud = Cloud(tmp_path, ABSENT, full, READY)
    assert on_tpu(cloud).returncode == 0
    assert len(cloud.calls('create')) == 3


def test_no_capacity_at_all_names_the_queue(tmp_path):
    full = {'match': 'create', 'status': 1, 'stderr': 'no more capacity\n'}
    cloud = Cloud(tmp_path, ABSENT | {'times': 2}, full)
    done = on_tpu(cloud)
    assert done.returncode == 2
    assert 'queued_resource.sh waits' in done.stderr.splitlines()[-1]
    assert not cloud.calls('ssh')


def test_a_lost_connection_is_taken_up_again_without_a_second_start(tmp_path):
    lost = {'match': 'follow', 'status': 255, 'stderr': 'Connection closed\n', 'times': 3}
    cloud = Cloud(tmp_path, ABSENT, lost, READY)
    assert on_tpu(cloud).returncode == 0
    assert len(cloud.calls('worker.sh start')) == 1
    assert [call.split('=')[-1] for call in cloud.calls('--worker=0')] == ['+1', '20', '20', '20']


def test_a_preempted_slice_is_rented_again_and_the_run_goes_on(tmp_path):
    states = [ABSENT, node('READY', times=1), node('PREEMPTED', times=3), ABSENT, READY]
    cloud = Cloud(tmp_path, {'match': 'follow', 'status': 255, 'times': 1}, *states)
    done = on_tpu(cloud)
    assert done.returncode == 0, done.stderr
    assert len(cloud.calls('tpu-vm create')) == 2
    assert len(cloud.calls('tpu-vm delete')) == 2
    assert len(cloud.calls('worker.sh start')) == 2
    assert 'restart 1 of 100' in done.stderr


def test_a_saved_run_on_machines_that_stay_is_started_again_there(tmp_path):
    cloud = Cloud(tmp_path, ABSENT, {'match': 'follow', 'status': 143, 'times': 1}, READY)
    done = on_tpu(cloud)
    assert done.returncode == 0
    assert len(cloud.calls('tpu-vm create')) == 1
    assert len(cloud.calls('worker.sh stop')) == 1, 'workers that still wait are stopped first'
    assert len(cloud.calls('worker.sh start')) == 2
    assert 'preempted; the run had saved' in done.stderr


def test_bad_input_is_not_started_again_and_gives_the_machines_back(tmp_path):
    cloud = Cloud(tmp_path, ABSENT, {'match': 'follow', 'status': 2}, READY)
    done = on_tpu(cloud)
    assert done.returncode == 2
    assert len(cloud.calls('worker.sh start')) == 1
    assert len(cloud.calls('tpu-vm delete')) == 1


def test_a_run_that_always_crashes_is_given_up(tmp_path):
    cloud = Cloud(tmp_path, ABSENT, {'match': 'follow', 'status': 1}, READY)
    done = on_tpu(cloud, 'tpu_vm', '--max-restarts=2')
    assert done.returncode == 1
    assert len(cloud.calls('worker.sh start')) == 3
    assert len(cloud.calls('tpu-vm delete')) == 1


def test_a_slice_that_cannot_be_deleted_is_said(tmp_path):
    cloud = Cloud(tmp_path, ABSENT, {'match': 'tpu-vm delete', 'status': 1}, READY)
    done = on_tpu(cloud)
    assert 'it is still rented' in done.stderr
    assert len(cloud.calls('tpu-vm delete')) == 4


def test_a_failed_worker_is_seen_although_worker_0_ended_well(tmp_path):
    failed = {'match': '--worker=all .*worker.sh follow', 'status': 1, 'times': 1}
    cloud = Cloud(tmp_path, ABSENT, failed, READY)
    assert on_tpu(cloud).returncode == 0
    assert len(cloud.calls('worker.sh start')) == 2


@pytest.mark.parametrize(
    ('name', 'preempted'),
    [('tpu_vm', node('PREEMPTED', times=3)), ('queued_resource', queued('SUSPENDED', times=3))],
)
def test_a_preempted_slice_is_replaced_although_it_is_to_be_kept(name, preempted, tmp_path):
    """Its name is taken until it is deleted; the new one is there at the end."""
    states = [ABSENT, UP[name] | {'times': 1}, preempted, ABSENT, UP[name]]
    cloud = Cloud(tmp_path, {'match': 'follow', 'status': 255, 'times': 1}, *states)
    done = on_tpu(cloud, name, '--keep')
    assert done.returncode == 0, done.stderr
    assert changes(cloud) == ['create', 'delete', 'create']


def test_a_resource_that_fails_again_and_again_is_given_up(tmp_path):
    cloud = Cloud(tmp_path, *[ABSENT, queued('FAILED', times=1)] * 7)
    done = on_tpu(cloud, 'queued_resource')
    assert done.returncode == 2
    assert 'time and again' in done.stderr.splitlines()[-1]
    assert len(cloud.calls('queued-resources create')) == 7


def test_the_queue_is_waited_for_and_a_preempted_resource_queues_again(tmp_path):
    lost = {'match': 'follow', 'status': 255, 'times': 1}
    waiting = [ABSENT, queued('WAITING_FOR_RESOURCES', times=2), queued('FAILED', times=1)]
    preempted = [ABSENT, queued('ACTIVE', times=1), queued('SUSPENDED', times=3)]
    cloud = Cloud(tmp_path, lost, *waiting, *preempted, ABSENT, ACTIVE)
    done = on_tpu(cloud, 'queued_resource')
    assert done.returncode == 0, done.stderr
    assert len(cloud.calls('queued-resources create')) == 3
    assert len(cloud.calls('worker.sh start')) == 2
    assert cloud.calls('queued-resources delete')[-1].endswith('--force --quiet')


def test_every_slice_of_a_multislice_run_starts_and_worker_0_of_the_first_is_followed(tmp_path):
    cloud = Cloud(tmp_path, ABSENT, ACTIVE)
    assert on_tpu(cloud, 'queued_resource', '--slices=3').returncode == 0
    assert {call.split()[5] for call in cloud.calls('start')} == {
        'distil-0',
        'distil-1',
        'distil-2',
    }
    assert [call.split()[5] for call in cloud.calls('--worker=0')] == ['distil-0']


def test_the_same_command_finds_the_machines_that_an_interrupted_one_left(tmp_path):
    for name, there in UP.items():
        (tmp_path / name).mkdir()
        cloud = Cloud(tmp_path / name, there)
        done = on_tpu(cloud, name)
        assert done.returncode == 0
        assert not cloud.calls('create')
        assert 'already' in done.stderr


@pytest.mark.parametrize('name', UP)
@pytest.mark.parametrize('status', [255, 1])
def test_an_outage_here_touches_no_slice_and_the_log_is_taken_up_again(name, status, tmp_path):
    """gcloud ends with ssh's 255, or with its own 1 where it could not look the slice up."""
    lost = {'match': 'follow', 'status': status, 'times': 1}
    silent = UNANSWERED | {'times': 3}
    cloud = Cloud(tmp_path, lost, ABSENT, UP[name] | {'times': 1}, silent, UP[name])
    done = on_tpu(cloud, name)
    assert done.returncode == 0, done.stderr
    assert changes(cloud) == ['create', 'delete']
    assert len(cloud.calls('worker.sh start')) == 1
    assert not cloud.calls('worker.sh stop')
    assert [call.split('=')[-1] for call in cloud.calls('--worker=0')] == ['+1', '20']
    assert done.stderr.count('gcloud gives no answer, the run goes on') == 3


def test_a_run_that_ended_with_1_is_followed_once_more_and_then_believed(tmp_path):
    crashed = {'match': 'follow', 'status': 1, 'times': 2}
    cloud = Cloud(tmp_path, ABSENT, crashed, READY)
    assert on_tpu(cloud).returncode == 0
    assert len(cloud.calls('worker.sh stop')) == 1
    assert len(cloud.calls('worker.sh start')) == 2


@pytest.mark.parametrize('name', UP)
def test_a_slice_that_vanished_is_asked_for_again(name, tmp_path):
    lost = {'match': 'follow', 'status': 255, 'times': 1}
    cloud = Cloud(tmp_path, lost, ABSENT, UP[name] | {'times': 1}, ABSENT | {'times': 3}, UP[name])
    done = on_tpu(cloud, name)
    assert done.returncode == 0, done.stderr
    assert changes(cloud) == ['create', 'create', 'delete']


@pytest.mark.parametrize(('steady', 'stops'), [('0', 0), ('600', 1)])
def test_connections_that_held_may_break_any_number_of_times(steady, stops, tmp_path):
    cloud = Cloud(tmp_path, ABSENT, {'match': 'follow', 'status': 255, 'times': 25}, READY)
    cloud.environment['STEADY_SECONDS'] = steady
    assert on_tpu(cloud).returncode == 0
    assert len(cloud.calls('worker.sh stop')) == stops
    assert changes(cloud) == ['create', 'delete']


@pytest.mark.parametrize('name', UP)
def test_without_an_answer_at_the_start_nothing_is_done(name, tmp_path):
    cloud = Cloud(tmp_path, UNANSWERED | {'times': 9})
    done = on_tpu(cloud, name)
    assert done.returncode == 2
    assert 'TransportError' in done.stderr
    assert 'nothing was done' in done.stderr.splitlines()[-1]
    assert len(cloud.calls()) == 1


@pytest.mark.parametrize('name', UP)
def test_a_request_that_went_through_although_its_answer_was_lost_is_used(name, tmp_path):
    taken = {'match': 'create', 'status': 1, 'stderr': 'ALREADY_EXISTS\n'}
    cloud = Cloud(tmp_path, taken, ABSENT, UP[name])
    done = on_tpu(cloud, name)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ('name', 'deleting'),
    [
        ('tpu_vm', node('DELETING', times=2)),
        ('queued_resource', queued('DELETING', times=2)),
    ],
)
def test_a_deletion_under_way_is_waited_for_before_a_new_request(name, deleting, tmp_path):
    cloud = Cloud(tmp_path, deleting, UNANSWERED, ABSENT, UP[name])
    done = on_tpu(cloud, name)
    assert done.returncode == 0, done.stderr
    assert changes(cloud) == ['create', 'delete']
    assert ' create ' in cloud.calls()[4], 'after the fourth look'


@pytest.mark.parametrize('state', ['PREEMPTED', 'TERMINATED'])
def test_what_an_interrupted_command_left_and_is_lost_is_replaced(state, tmp_path):
    cloud = Cloud(tmp_path, node(state, times=1), ABSENT, READY)
    done = on_tpu(cloud)
    assert done.returncode == 0, done.stderr
    assert changes(cloud) == ['delete', 'create', 'delete']


def test_a_slice_that_somebody_stopped_keeps_its_disk(tmp_path):
    cloud = Cloud(tmp_path, node('STOPPED'))
    done = on_tpu(cloud)
    assert (done.returncode, changes(cloud)) == (2, [])
    assert 'gcloud compute tpus tpu-vm start distil' in done.stderr


@pytest.mark.parametrize('state', ['CREATING', 'REPAIRING'])
def test_a_slice_that_comes_up_is_waited_for(state, tmp_path):
    cloud = Cloud(tmp_path, node(state, times=2), READY)
    assert on_tpu(cloud).returncode == 0
    assert not cloud.calls('create')


FAILING_SETUP = {'match': '--command=exit 1', 'status': 1}


def test_an_install_that_always_fails_is_given_up_and_the_machines_are_given_back(tmp_path):
    cloud = Cloud(tmp_path, ABSENT, FAILING_SETUP, READY)
    done = on_tpu(cloud, 'tpu_vm', '--setup=exit 1')
    assert done.returncode == 2
    assert 'look at --setup' in done.stderr.splitlines()[-1]
    assert len(cloud.calls('tpu-vm scp')) == 3
    assert changes(cloud) == ['create', 'delete']
    assert not cloud.calls('worker.sh start')


def test_an_install_that_fails_where_machines_go_is_tried_on_the_next(tmp_path):
    states = [ABSENT, node('READY', times=2), node('PREEMPTED', times=2), ABSENT, READY]
    failing = FAILING_SETUP | {'times': 9}  # three installs, as each tries three times
    cloud = Cloud(tmp_path, failing, *states)
    done = on_tpu(cloud, 'tpu_vm', '--setup=exit 1')
    assert done.returncode == 0, done.stderr
    assert len(cloud.calls('tpu-vm scp')) == 4


@pytest.mark.parametrize('name', ['tpu_vm', 'queued_resource', 'gke'])
def test_delete_only_deletes(name, tmp_path):
    cloud = Cloud(tmp_path)
    options = ['--name=distil'] if name == 'gke' else ['--name=distil', '--zone=z']
    assert cloud.run(script(name), '--delete', *options).returncode == 0
    assert len(cloud.calls()) == len(cloud.calls('delete')) == 1


@pytest.mark.parametrize('name', ['tpu_vm', 'queued_resource', 'gke'])
def test_a_deletion_that_fails_is_no_success(name, tmp_path):
    cloud = Cloud(tmp_path, {'match': 'delete', 'status': 1})
    options = ['--name=distil'] if name == 'gke' else ['--name=distil', '--zone=z']
    assert cloud.run(script(name), '--delete', *options).returncode == 1


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('tpu_vm', ['--zone=z', *STAGE], 'needs --name'),
        ('tpu_vm', ['--name=x', '--zone=z', *STAGE], 'needs --topology'),
        ('tpu_vm', ['--name=x', '--zone=z', '--topology=v5e:4', *STAGE], 'expected v5e:4x4'),
        ('tpu_vm', ['--name=x', '--zone=z', '--topology=v5e:4x4'], 'needs the stage to run'),
        ('tpu_vm', [*ON_TPU, *STAGE, '--overwrite'], 'delete the checkpoints at each restart'),
        ('tpu_vm', ['--nme=x', *STAGE], 'unknown option --nme'),
        ('tpu_vm', ['--name', 'x', *STAGE], 'one without a value: --name'),
        ('queued_resource', ['train'], 'unexpected argument train'),
        ('gke', ['--name=Big_One', *STAGE], 'expected lower-case letters'),
        ('tpu_vm', ['--name=my run/1', '--zone=z', *STAGE], 'expected lower-case letters'),
        ('queued_resource', ['--name=a b', '--zone=z', *STAGE], 'expected lower-case letters'),
        ('queued_resource', [*ON_TPU, '--slices=two', *STAGE], '--slices=two: expected a number'),
        ('tpu_vm', [*ON_TPU, '--max-restarts=-1', *STAGE], '--max-restarts=-1: expected a number'),
        ('gke', [*DRY_RUNS['gke'], 'a\nb'], 'a control character'),
        ('slurm', ['--name=x', '--nodes=08', '--gpus=1', *STAGE], '--nodes=08: expected a number'),
        (
            'teacher_cluster',
            ['--on=slurm', '--name=x', '--shards=all', '--gpus=1', *TEACH],
            '--shards=all: expected a number',
        ),
        (
            'teacher_cluster',
            [*DRY_RUNS['teacher_cluster_gke'], 'a\nb'],
            'a control character',
        ),
        ('gke', ['--name=x', '--topology=v5e:4x4', *STAGE], 'needs --image'),
        ('slurm', ['--name=x', '--nodes=1', *STAGE], 'needs --gpus'),
        (
            'teacher_cluster',
            ['--on=slurm', '--name=x', '--shards=2', '--gpus=1', *STAGE[:2]],
            'needs --output',
        ),
        (
            'teacher_cluster',
            ['--on=k8s', '--name=x', '--shards=2', '--gpus=1', *TEACH],
            'expected slurm or gke',
        ),
        ('local', ['--processes=two', *STAGE], 'expected a number'),
    ],
)
def test_mistakes_are_one_line_and_status_2(name, options, message, tmp_path):
    cloud = Cloud(tmp_path)
    done = cloud.run(script(name), *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not cloud.calls()


# -- a worker --------------------------------------------------------------------------------------


@pytest.fixture
def worker(tmp_path):
    """A checkout whose `fsa` is a small shell script, and a function that runs worker.sh in it."""
    root = tmp_path / 'fsa_jax'
    (root / '.venv-core' / 'bin').mkdir(parents=True)
    (root / 'launch').symlink_to(REPOSITORY / 'launch')
    fsa = root / '.venv-core' / 'bin' / 'fsa'
    fsa.write_text(
        '#!/usr/bin/env bash\n'
        'trap "echo saved; exit 143" TERM\n'
        'echo "ran $*"\n'
        'while [ -e "$1" ]; do sleep 0.05; done\n'
        'exit "$2"\n'
    )
    fsa.chmod(0o755)
    cloud = Cloud(tmp_path)
    cloud.environment['FSA_JOB'] = str(tmp_path / 'job')
    return lambda *words: cloud.run(str(root / 'launch' / 'worker.sh'), *words)


def test_a_worker_hands_on_the_log_and_the_status(worker, tmp_path):
    worker('start', '--', str(tmp_path / 'no wait'), '7')
    followed = worker('follow')
    assert followed.returncode == 7
    assert f'ran {tmp_path}/no wait 7' in followed.stdout


def test_a_worker_that_ends_later_than_the_first_is_waited_for(worker, tmp_path):
    (tmp_path / 'wait').touch()
    worker('start', '--', str(tmp_path / 'wait'), '0')
    with ThreadPoolExecutor() as pool:
        followed = pool.submit(worker, 'follow', '--lines=0')
        time.sleep(0.5)
        assert not followed.done()
        (tmp_path / 'wait').unlink()
        assert followed.result().returncode == 0


def test_a_run_under_way_is_not_started_twice_and_saves_when_stopped(worker, tmp_path):
    (tmp_path / 'wait').touch()
    for _ in range(2):
        assert worker('start', '--', str(tmp_path / 'wait'), '0').returncode == 0
    assert (tmp_path / 'job' / 'log').read_text().count('ran ') == 1
    worker('stop')
    followed = worker('follow')
    assert followed.returncode == 143
    assert 'saved' in followed.stdout


# -- several processes on one machine -------------------------------------------------------------


@pytest.fixture
def local(tmp_path):
    """A checkout with an environment whose `fsa` is the shell text given, and local.sh in it."""
    root = tmp_path / 'fsa_jax'
    for environment in ('.venv', '.venv-core'):
        (root / environment / 'bin').mkdir(parents=True)
    locked = hashlib.sha256()
    for name in ('launch', 'requirements.lock', 'pyproject.toml'):
        (root / name).symlink_to(REPOSITORY / name)
        if name != 'launch':
            locked.update((REPOSITORY / name).read_bytes())
    (root / '.venv' / '.fsa_lock').write_text(locked.hexdigest())

    def start(fsa: str, *options: str, environment: str = '.venv') -> subprocess.Popen:
        program = root / environment / 'bin' / 'fsa'
        program.write_text(f'#!/usr/bin/env bash\ncd {tmp_path}\n{fsa}')
        program.chmod(0o755)
        return subprocess.Popen(
            [root / 'launch' / 'local.sh', *options, '--', 'train', '--output=x'],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_each_process_is_told_which_it_is_and_where_they_meet(local, tmp_path):
    fsa = 'echo "$JAX_PROCESS_ID/$JAX_NUM_PROCESSES at $JAX_COORDINATOR_ADDRESS, $XLA_FLAGS: $*"'
    done = local(fsa, '--processes=3', '--devices=2')
    out, _ = done.communicate(timeout=60)
    assert done.returncode == 0
    told = sorted(line.split(' at ') for line in out.splitlines())
    assert [process for process, _ in told] == ['0/3', '1/3', '2/3']
    assert len({rest for _, rest in told}) == 1
    assert told[0][1].endswith('device_count=2: train --output=x')


def test_each_process_has_a_gpu_of_its_own_in_the_environment_with_cuda(local):
    says = 'echo "$JAX_PROCESS_ID sees $CUDA_VISIBLE_DEVICES"'
    none = local(says, '--processes=2', '--gpus')
    assert none.communicate(timeout=60)[1].endswith('worker.sh setup --accelerator=cuda\n')
    assert none.returncode == 2
    done = local(says, '--processes=2', '--gpus', environment='.venv-core')
    out, _ = done.communicate(timeout=60)
    assert sorted(out.splitlines()) == ['0 sees 0', '1 sees 1']


def test_a_crash_starts_all_again_and_bad_input_does_not(local, tmp_path):
    crash_once = 'mkdir tried 2>/dev/null && exit 1; echo went on'
    done = local(crash_once, '--processes=1')
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (0, 'went on\n')
    assert 'restart 1 of 3' in err
    refused = local('echo >>tries; exit 2', '--processes=2')
    assert refused.wait(timeout=60) == 2
    assert len((tmp_path / 'tries').read_text().splitlines()) == 2


def test_a_run_that_always_crashes_here_is_given_up(local, tmp_path):
    done = local('echo >>tries; exit 1', '--processes=1', '--max-restarts=2')
    _, err = done.communicate(timeout=60)
    assert done.returncode == 2
    assert 'gave up after 2 restarts' in err
    assert len((tmp_path / 'tries').read_text().splitlines()) == 3


def test_sigterm_reaches_the_processes_and_ends_the_launcher(local, tmp_path):
    saves = 'trap "touch saved$JAX_PROCESS_ID; exit 143" TERM; touch up$JAX_PROCESS_ID\n'
    done = local(saves + 'while :; do sleep 0.05; done', '--processes=2')
    while not all((tmp_path / f'up{i}').exists() for i in range(2)):
        time.sleep(0.05)
    done.terminate()
    assert done.wait(timeout=60) == 143
    assert all((tmp_path / f'saved{i}').exists() for i in range(2))


# -- manifests -------------------------------------------------------------------------------------


def validate_job_set(manifest: dict) -> None:
    """A JobSet's own fields against the committed schema, its Jobs against the Kubernetes API's."""
    schema = json.loads((GOLDEN / 'jobset.schema.json').read_text())
    jsonschema.validate(manifest, schema)
    for replicated in manifest['spec']['replicatedJobs']:
        job = {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': replicated['name']}}
        kubernetes_validate.validate(
            job | {'spec': replicated['template']['spec']}, '1.31', strict=True
        )


@pytest.mark.parametrize('name', ['gke', 'gke_multislice'])
def test_job_sets_are_valid_and_hold_no_secret(name, tmp_path, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', 'hf_secret')
    printed = dry_run(Cloud(tmp_path), name)
    assert 'hf_secret' not in printed
    manifest = yaml.safe_load(printed)
    validate_job_set(manifest)
    container = manifest['spec']['replicatedJobs'][0]['template']['spec']['template']['spec'][
        'containers'
    ][0]
    assert container['args'] == DRY_RUNS[name][DRY_RUNS[name].index('--') + 1 :]


def test_a_broken_job_set_is_refused(tmp_path):
    printed = dry_run(Cloud(tmp_path), 'gke')
    manifest = yaml.safe_load(printed)
    manifest['spec']['replicatedJobs'][0]['template']['spec']['parallelism'] = 'four'
    with pytest.raises(kubernetes_validate.ValidationError):
        validate_job_set(manifest)
    manifest = yaml.safe_load(printed)
    manifest['spec']['failurePolicy']['maxRestart'] = 3
    with pytest.raises(jsonschema.ValidationError):
        validate_job_set(manifest)


def on_gke(cloud: Cloud, *options: str):
    return cloud.run(script('gke'), *options, *DRY_RUNS['gke'])


def test_gke_streams_the_log_of_each_try_until_the_job_set_ends(tmp_path):
    pods = [
        {'match': 'get pods', 'stdout': f'pod/distil-slice-job-0-0-{n}\n', 'times': 2}
        for n in ('first', 'second')
    ]
    running = {'match': 'get jobset', 'stdout': '', 'times': 3}
    completed = {'match': 'get jobset', 'stdout': 'Completed'}
    last = {'match': 'get pods', 'stdout': 'pod/distil-slice-job-0-0-second\n'}
    cloud = Cloud(tmp_path, *pods, last, running, completed)
    done = on_gke(cloud)
    assert done.returncode == 0, done.stderr
    assert [call.split('-')[-1] for call in cloud.calls('logs')] == ['first', 'second']


def test_gke_takes_up_a_log_that_broke_off(tmp_path):
    broken = {'match': 'logs', 'status': 1, 'stderr': 'unexpected EOF\n', 'times': 1}
    running = {'match': 'get jobset', 'stdout': '', 'times': 2}
    pod = {'match': 'get pods', 'stdout': 'pod/distil-slice-job-0-0-x\n'}
    cloud = Cloud(tmp_path, broken, running, pod, {'match': 'get jobset', 'stdout': 'Completed'})
    done = on_gke(cloud)
    assert done.returncode == 0, done.stderr
    assert [re.search('--tail=(\\S+)', call)[1] for call in cloud.calls('logs')] == ['-1', '20']


def test_gke_says_when_the_job_set_failed_and_survives_a_cluster_that_does_not_answer(tmp_path):
    silent = {'match': 'get', 'status': 1, 'stderr': 'connection refused\n', 'times': 5}
    cloud = Cloud(tmp_path, silent, {'match': 'get jobset', 'stdout': 'Failed'})
    done = on_gke(cloud)
    assert done.returncode == 1
    assert 'the JobSet failed' in done.stderr


def test_gke_without_permission_is_final(tmp_path):
    cloud = Cloud(tmp_path, {'match': 'apply', 'status': 1, 'stderr': 'PERMISSION_DENIED\n'})
    assert on_gke(cloud).returncode == 2
    assert len(cloud.calls('apply')) == 1


def test_the_teachers_indexed_job_is_valid_and_each_pod_has_its_shard(tmp_path):
    manifest = yaml.safe_load(dry_run(Cloud(tmp_path), 'teacher_cluster_gke'))
    kubernetes_validate.validate(manifest, '1.31', strict=True)
    (container,) = manifest['spec']['template']['spec']['containers']
    assert container['args'][-2:] == [
        '--shard=$(SHARD)/4',
        '--output=/data/generations/shard-$(SHARD)',
    ]
    assert container['env'][0]['name'] == 'SHARD'


# -- Slurm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['slurm', 'teacher_cluster_slurm'])
@pytest.mark.parametrize(
    ('status', 'restarts', 'requeued'),
    [(0, 0, False), (2, 0, False), (143, 0, True), (1, 5, True), (143, 100, False)],
)
def test_a_slurm_job_is_requeued_unless_it_is_done_or_cannot_succeed(
    name, status, restarts, requeued, tmp_path
):
    job = dry_run(Cloud(tmp_path), name)
    (tmp_path / 'node').mkdir()
    node = Cloud(tmp_path / 'node', {'match': '^srun', 'status': status})
    node.environment |= {
        'SLURM_JOB_ID': '17',
        'SLURM_ARRAY_TASK_ID': '3',
        'SLURM_RESTART_COUNT': str(restarts),
    }
    done = node.run('bash', '-s', input=job)
    assert len(node.calls('srun')) == 1
    assert bool(node.calls('scontrol requeue 17')) is requeued
    assert done.returncode == (0 if requeued else status)


def test_bad_input_of_one_task_is_told_from_what_becomes_of_those_that_wait_for_it(tmp_path):
    job = dry_run(Cloud(tmp_path), 'slurm')
    (tmp_path / 'distil-17.log').write_text('srun: error: n1: task 3: Exited with exit code 2\n')
    (tmp_path / 'node').mkdir()
    node = Cloud(tmp_path / 'node', {'match': '^srun', 'status': 134})
    node.environment |= {'SLURM_JOB_ID': '17'}
    assert node.run('bash', '-s', input=job, cwd=tmp_path).returncode == 2
    assert not node.calls('scontrol requeue')


@pytest.mark.parametrize('locale', ['C', 'C.UTF-8'])
def test_each_task_of_an_array_has_a_folder_of_its_own_whatever_its_name(locale, tmp_path):
    """Bash quotes letters that the locale does not know in a way of its own."""
    cloud = Cloud(tmp_path)
    cloud.environment['LC_ALL'] = locale
    output = "/data/größe & 'more'"
    asked = ['--on=slurm', '--name=teach', '--shards=4', '--gpus=4', '--', 'teach']
    job = cloud.run(script('teacher_cluster'), '--dry-run', *asked, f'--output={output}').stdout
    cloud.environment |= {'SLURM_JOB_ID': '17', 'SLURM_ARRAY_TASK_ID': '3'}
    assert cloud.run('bash', '-s', input=job).returncode == 0
    (call,) = cloud.calls('srun')
    assert call.endswith(f'--shard=3/4 --output={output}/shard-3')


# -- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('image', ['student', 'teacher'])
def test_what_an_image_copies_is_there_and_in_the_repository(image):
    text = (REPOSITORY / 'launch' / 'docker' / f'{image}.Dockerfile').read_text()
    copied = [
        word for line in re.findall(r'^COPY (.+) \S+$', text, re.MULTILINE) for word in line.split()
    ]
    assert {'pyproject.toml', 'fsa_jax', 'gin_configs'} < set(copied)
    sent = (REPOSITORY / '.dockerignore').read_text().split()
    for name in copied:
        assert (REPOSITORY / name).exists()
        assert f'!{name}' in sent

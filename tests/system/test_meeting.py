"""Two real processes find each other in the environments of Slurm, Open MPI, GKE and TPU VMs."""

import contextlib
import http.server
import itertools
import subprocess
import sys
import threading

import pytest

from fsa_jax.hosts import EXIT_HUNG
from tests.conftest import REPOSITORY
from tests.processes import environment, free_port, fsa

pytestmark = pytest.mark.timeout(300)


class Metadata(http.server.BaseHTTPRequestHandler):
    """The attributes that a TPU VM's metadata server gives worker `number` of two."""

    number = 0

    def do_GET(self):
        attributes = {
            'agent-worker-number': str(self.number),
            'worker-network-endpoints': 'localhost,localhost',
            'tpu-env': "ACCELERATOR_TYPE: 'v5litepod-8'",
        }
        content = attributes.get(self.path.rpartition('/')[2], '').encode()
        self.send_response(200 if content else 404)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def metadata(number):
    kind = type('Worker', (Metadata,), {'number': number})
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'127.0.0.1:{server.server_port}'
        server.shutdown()


def slurm(number):
    return {
        'SLURM_JOB_ID': str(free_port()), 'SLURM_STEP_NODELIST': 'localhost', 'SLURM_NTASKS': '2',
        'SLURM_PROCID': str(number), 'SLURM_LOCALID': '0',
    }  # fmt: skip


def ompi(number):
    return {
        'OMPI_MCA_orte_hnp_uri': '1531576320.0;tcp://127.0.0.1,10.0.0.1:34911',
        'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_RANK': str(number),
        'OMPI_COMM_WORLD_LOCAL_RANK': '0',
    }  # fmt: skip


@pytest.fixture(scope='module')
def met():
    """What the two processes of each environment print; all run at once."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(metadata(number)) for number in range(2)]

        def gce(number):
            return {'GCE_METADATA_IP': servers[number], 'JAX_PLATFORMS': ''}

        def gke(number):  # JAX asks the metadata server about slices there too
            hosts = {'TPU_WORKER_HOSTNAMES': 'localhost,localhost', 'TPU_WORKER_ID': str(number)}
            return gce(number) | hosts

        running = {}
        for cluster in (slurm, ompi, gke, gce):
            port = {'JAX_COORDINATOR_PORT': str(free_port())}
            machine = 'tpu' if cluster in (gke, gce) else 'cpu'
            running[cluster.__name__] = [
                subprocess.Popen(
                    [sys.executable, '-m', 'tests.system.meeting_job', machine],
                    cwd=REPOSITORY, env=environment(**port, **cluster(number)), text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
                for number in range(2)
            ]  # fmt: skip
        try:
            yield {name: [p.communicate(timeout=200) for p in ps] for name, ps in running.items()}
        finally:
            for process in itertools.chain.from_iterable(running.values()):
                process.kill()


@pytest.mark.parametrize('cluster', ['slurm', 'ompi', 'gke', 'gce'])
def test_two_processes_meet(met, cluster):
    for number, (printed, errors) in enumerate(met[cluster]):
        expected = f'process {number} of 2, main: {number == 0}, heard of process 0'
        assert expected in printed, errors[-2000:]


def test_what_the_end_of_another_process_breaks_is_not_the_cause(tmp_path):
    with fsa(['hang'], tmp_path, processes=2, module='tests.system.meeting_job') as group:
        assert group.wait(120) == [EXIT_HUNG, EXIT_HUNG], group.log()
    assert 'fsa: process 1 has done nothing' in group.log()
    assert 'Traceback' not in group.log()


def test_one_that_fails_alone_ends_all_with_its_line_and_status(tmp_path):
    with fsa(['fail'], tmp_path, processes=2, module='tests.system.meeting_job') as group:
        assert group.wait(120) == [2, 2], group.log(1)
    assert group.log(0).splitlines()[-1] == 'fsa: process 1 failed: no room; this one ends too'
    assert group.log(1).splitlines()[-1] == 'fsa: no room'

"""Where processes meet, by what their environment says."""

import pytest

from fsa_jax.configs import DistributedConfig
from fsa_jax.errors import UserError
from fsa_jax.rendezvous import Rendezvous, find

SLURM = {
    'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': 'n[1-2]', 'SLURM_NTASKS': '2', 'SLURM_PROCID': '1',
    'SLURM_LOCALID': '0',
}  # fmt: skip
OMPI = {'OMPI_COMM_WORLD_SIZE': '4', 'OMPI_COMM_WORLD_RANK': '3', 'OMPI_COMM_WORLD_LOCAL_SIZE': '4'}
BY_HAND = {
    'JAX_COORDINATOR_ADDRESS': 'h:1', 'JAX_NUM_PROCESSES': '3', 'JAX_PROCESS_ID': '2',
}  # fmt: skip


@pytest.mark.parametrize(
    ('environ', 'knobs', 'found'),
    [
        ({}, {}, None),
        (SLURM, {}, Rendezvous('', None, None, 'slurm')),
        (SLURM | {'SLURM_NTASKS': '1'}, {}, None),
        (SLURM, {'cluster': 'off'}, None),
        (OMPI | {'OMPI_MCA_orte_hnp_uri': '1'}, {}, Rendezvous('', None, None, 'ompi')),
        (OMPI, {}, Rendezvous('localhost:8476', 4, 3, '')),  # Open MPI 5
        (BY_HAND, {}, Rendezvous('h:1', 3, 2, '')),
        (BY_HAND, {'coordinator': 'g:2', 'process_id': 0}, Rendezvous('g:2', 3, 0, '')),
        ({}, {'cluster': 'k8s'}, Rendezvous('', None, None, 'k8s')),
    ],
)
def test_what_is_found(environ, knobs, found):
    assert find(DistributedConfig(**knobs), environ) == found


@pytest.mark.parametrize(
    ('environ', 'knobs', 'message'),
    [
        ({'JAX_NUM_PROCESSES': '2'}, {}, 'nothing says where they meet'),
        ({'JAX_COORDINATOR_ADDRESS': 'h:1'}, {}, 'which process is this, of how many'),
        ({'JAX_NUM_PROCESSES': 'two'}, {}, 'JAX_NUM_PROCESSES must be a whole number'),
        (OMPI | {'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}, {}, 'nothing says where they meet'),
    ],
)
def test_what_is_missing_is_named(environ, knobs, message):
    with pytest.raises(UserError, match=message):
        find(DistributedConfig(**knobs), environ)


@pytest.mark.parametrize('knobs', [{'coordinator': 'h'}, {'processes': 2, 'process_id': 2}])
def test_a_config_checks_itself(knobs):
    with pytest.raises(UserError):
        DistributedConfig(**knobs)

"""The train step compiled for TPUs that are not there: how it is cut, what crosses the network, the table.

Programs are optimised less (PlanConfig.effort='quick'); two compilers run at a time.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import pytest

from fsa_jax import configs as c
from fsa_jax.model.t5 import abstract_params
from fsa_jax.plan import compiler, stage
from fsa_jax.plan.cell import Cell
from fsa_jax.plan.program import Knobs
from fsa_jax.plan.topology import CHIPS, parse
from tests.bench import plan as bench

pytestmark = [pytest.mark.libtpu, pytest.mark.timeout(1200)]

SMALL = c.T5Config(
    vocab_size=512, d_model=128, d_kv=32, d_ff=256, num_layers=2, num_decoder_layers=2, num_heads=4,
    dtype='bfloat16', dropout_rate=0.0,
)  # fmt: skip
COUNT = sum(x.size for x in jax.tree.leaves(abstract_params(SMALL)))


def small(mesh: c.MeshConfig, microbatches: int = 1, **train) -> Knobs:
    rows = c.RowsConfig(
        encoder_length=128, decoder_length=256, batch_size=16, microbatches=microbatches
    )
    return Knobs(c.TrainConfig(steps=10, **train), SMALL, rows, c.OptimizerConfig(), mesh)


ASKED = {
    'dp': (small(c.MeshConfig(), 2, gradient_dtype='bfloat16'), parse('v5e:2x4')),
    'two slices': (small(c.MeshConfig()), parse('v5e:2x2', 2)),
    'fsdp_tp': (small(c.MeshConfig(fsdp=4, tensor=2, preset='fsdp_tp')), parse('v5e:2x4')),
    'megacore': (small(c.MeshConfig(fsdp=4, preset='fsdp')), parse('v4-8')),
    'too large': (
        Knobs(*[x if not isinstance(x, c.T5Config) else x.replace(d_ff=1 << 22) for x in
                vars(small(c.MeshConfig())).values()]), parse('v5e:2x2')),
}  # fmt: skip
CHECKED = [name for name in ('base v4-8', 'base v5e-16') if name in bench.read()['cells']]


@pytest.fixture(scope='module')
def cells(libtpu, tmp_path_factory):
    """Answers by name, of ASKED and of the checked cells of the table."""
    kept = tmp_path_factory.mktemp('answers')
    asked = dict(ASKED)
    for name in CHECKED:
        size, _, slices = name.partition(' ')
        asked[name] = bench.knobs(size, parse(slices))[0], parse(slices)
    with ThreadPoolExecutor(2) as pool:
        waiting = {
            name: (knobs, slices, pool.submit(compiler.ask, knobs, slices, kept, 'quick'))
            for name, (knobs, slices) in asked.items()
        }
        return {
            name: Cell(slices, knobs, answer.result())
            for name, (knobs, slices, answer) in waiting.items()
        }


def large(cell: Cell) -> list[dict]:
    return [row for row in cell.answer['collectives'] if row['dtype'] != 'small']


def test_data_parallel_sends_each_parameter_once_in_the_dtype_that_is_asked_for(cells):
    """The tied table too, and once for all microbatches."""
    (reduce,) = large(cells['dp'])
    assert (reduce['kind'], reduce['dtype'], reduce['network']) == ('all-reduce', 'bf16', 'ICI')
    assert reduce['bytes'] == pytest.approx(2 * COUNT, rel=0.01)


def test_over_two_slices_gradients_are_scattered_within_each_and_the_rest_is_said(cells):
    """Between slices the runtime sends, which the program's collectives do not show."""
    cell = cells['two slices']
    rows = {(row['kind'], row['network']): row for row in large(cell)}
    assert {network for _, network in rows} == {'ICI'}
    scattered = rows['reduce-scatter', 'ICI']['bytes'] + rows['all-reduce', 'ICI']['bytes']
    assert scattered == pytest.approx(4 * COUNT, rel=0.01)
    # The four chips of a slice hold the same gradients; a ring of two sends all of a chip's share.
    assert cell.roofline.between_slices == 4 * COUNT / 4
    assert 'between slices, by arithmetic' in '\n'.join(stage._traffic(cell))


@pytest.mark.parametrize('name', ['dp', 'two slices', 'fsdp_tp', 'megacore'])
def test_no_activation_is_gathered_over_the_batch(cells, name):
    assert not [row for row in cells[name].answer['collectives'] if row['gathers_rows']]
    assert cells[name].answer['warnings'] == []


# From rows over four of two by four chips to columns over two: the partitioner copies all to all.
INVOLUNTARY = """
import jax, jax.numpy as jnp, numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
devices = topologies.get_topology_desc(platform='tpu', topology_name='v5e:2x4').devices
mesh = Mesh(np.array(devices).reshape(2, 4), ('a', 'b'))
rows, columns = NamedSharding(mesh, P('b')), NamedSharding(mesh, P(None, 'a'))
def program(x):
    return 2 * jax.lax.with_sharding_constraint(jnp.tanh(x), columns)
jax.jit(program).lower(jax.ShapeDtypeStruct((64, 64, 64), jnp.float32, sharding=rows)).compile()
"""


def test_what_the_partitioner_warns_of_is_heard(libtpu):
    done = subprocess.run(
        [sys.executable, '-c', INVOLUNTARY],
        env=compiler.environment(libtpu), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (warning,) = compiler.involuntary(done.stderr)
    assert 'cannot go from sharding' in warning


def test_state_is_cut_over_fsdp_and_tensor(cells):
    whole, cut = cells['two slices'].answer['held'], cells['fsdp_tp'].answer['held']
    assert whole['parameters'] == 4 * COUNT
    assert cut['parameters'] < 1.05 * whole['parameters'] / 8


def test_v4_is_compiled_as_it_is_rented_two_cores_a_device(cells):
    assert cells['megacore'].fits
    assert cells['megacore'].slices.chips == 4


def test_what_does_not_fit_says_by_how_much(cells):
    told = cells['too large'].answer['exhausted']
    assert not cells['too large'].fits
    assert told['available'] == CHIPS['v5e'].hbm
    assert told['needed'] > told['available']


@pytest.mark.parametrize('name', CHECKED)
def test_a_fresh_compile_is_the_committed_cell(cells, name):
    """All but the seconds; memory may move with a version of the compiler, not with the machine."""
    committed, fresh = bench.read()['cells'][name], cells[name].to_json(0.0)
    assert fresh['knobs'] == committed['knobs']
    assert fresh['fits'] == committed['fits']
    for part in ('held', 'memory', 'hbm_bytes', 'collectives', 'warnings'):
        assert fresh['answer'].get(part) == committed['answer'].get(part), part
    if fresh['fits']:
        assert fresh['roofline'] == pytest.approx(committed['roofline'])

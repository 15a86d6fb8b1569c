"""Where parameters lie on a mesh, and what is refused. The 8-device runs are system tests."""

import itertools
from types import SimpleNamespace

import jax
import optax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from fsa_jax.configs import MeshConfig, T5Config
from fsa_jax.errors import UserError
from fsa_jax.model.t5 import abstract_params
from fsa_jax.partition import PRESETS, Partition, lay_out, make_mesh
from fsa_jax.train.state import TrainState

TINY = T5Config(
    vocab_size=64, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=2, num_heads=2
)


def partition(preset, data=1, fsdp=1, tensor=1):
    return Partition(
        AbstractMesh((data, fsdp, tensor), ('data', 'fsdp', 'tensor')), PRESETS[preset]
    )


SPECS = {
    'dp': {'embedding': (None, None), 'wi': (None, None, None), 'out': (None, None, None)},
    'fsdp': {'embedding': (None, 'fsdp'), 'wi': (None, 'fsdp', None), 'out': (None, None, 'fsdp')},
    'fsdp_tp': {
        'embedding': ('tensor', 'fsdp'),
        'wi': (None, 'fsdp', 'tensor'),
        'out': (None, 'tensor', 'fsdp'),
    },
}


@pytest.mark.parametrize('preset', PRESETS)
def test_presets_lay_out_parameters(preset):
    shardings = partition(preset, 2, 2, 2).params(TINY)
    layers = shardings['decoder']['layers']
    found = {
        'embedding': shardings['token_embedder']['embedding'],
        'wi': layers['mlp']['wi']['kernel'],
        'out': layers['cross_attention']['out']['kernel'],
    }
    assert {k: v.spec for k, v in found.items()} == {
        k: PartitionSpec(*v) for k, v in SPECS[preset].items()
    }


def test_shapes_are_of_no_partition():
    """They are remembered: asked for within a mesh they serve without one, and the other way round."""
    within, without = (TINY.replace(num_layers=n) for n in (3, 4))
    shapes = [abstract_params(without)]
    with Partition.from_config(MeshConfig()).context():
        shapes += [abstract_params(without), abstract_params(within)]
    assert {x.sharding for x in jax.tree.leaves(shapes)} == {None}
    assert shapes[0] == shapes[1]


def test_optimizer_state_lies_as_its_parameters():
    layout = partition('fsdp', fsdp=2)
    params, shardings = abstract_params(TINY), layout.params(TINY)

    def laid_out(optimizer):
        state = jax.eval_shape(lambda p: TrainState.create(p, optimizer), params)
        return layout.like(state, params, shardings)

    state = laid_out(optax.adamw(1e-3))
    adam = state.opt_state[0]
    assert state.params == adam.mu == adam.nu == shardings
    assert state.step == adam.count == layout.replicated
    factored = laid_out(optax.adafactor(1e-3, min_dim_size_to_factor=8)).opt_state[0]
    assert set(jax.tree.leaves(factored.v_row)) == {layout.replicated}


def test_batches_that_cannot_be_spread_are_refused():
    layout = partition('fsdp', data=2, fsdp=8)
    layout.check_batch(96)
    layout.check_batch(96, microbatches=3)
    with pytest.raises(UserError) as error:
        layout.check_batch(100)
    assert str(error.value) == (
        'batch 100 is not divisible by 16 data shards (MeshConfig.data=2 x fsdp=8); use 96 or 112'
    )
    with pytest.raises(UserError, match=r'x RowsConfig.microbatches=5; use 80 or 160'):
        layout.check_batch(100, microbatches=5)
    with pytest.raises(UserError, match=r'use 16$'):
        layout.check_batch(10)


def test_sizes_that_cannot_be_cut_are_refused():
    with pytest.raises(
        UserError,
        match=r"'vocab' of size 65 .*tensor=2; set MeshConfig.tensor=1, or train with T5Config.vocab_padding=1",
    ):
        partition('fsdp_tp', tensor=2).params(TINY.replace(vocab_size=65))
    with pytest.raises(UserError, match=r"axis 'embed' of size 8 .*fsdp=3"):
        partition('fsdp', fsdp=3).params(TINY)
    with pytest.raises(UserError, match="axis 'heads' of size 2 is not divisible"):
        partition('fsdp_tp', tensor=4).params(TINY)  # 2 heads x 4 = 8 would divide


def test_two_axes_of_a_tensor_on_one_mesh_axis_are_refused():
    layout = Partition(partition('fsdp', fsdp=2).mesh, (*PRESETS['fsdp'], ('vocab', 'fsdp')))
    with pytest.raises(UserError, match="'vocab' and 'embed' both lie on mesh axis 'fsdp'"):
        layout.params(TINY)


def test_the_mesh_must_be_that_of_the_devices():
    devices = jax.devices() * 6
    with pytest.raises(UserError, match=r'data=2 x fsdp=2 x tensor=1 is 4 devices, .* there are 6'):
        make_mesh(MeshConfig(data=2, fsdp=2), devices)
    with pytest.raises(UserError, match='data=1 x fsdp=4 x tensor=1 is 4 devices'):
        make_mesh(MeshConfig(fsdp=4), devices)
    with pytest.raises(UserError, match="tensor=2 does nothing under preset 'dp'"):
        make_mesh(MeshConfig(tensor=2), devices)
    assert make_mesh(MeshConfig()).shape == {'data': 1, 'fsdp': 1, 'tensor': 1}


def tpus(slices):
    """The devices of so many v5e:2x4, as jax lists them on a real pod."""
    return [
        SimpleNamespace(
            platform='tpu', device_kind='TPU v5 lite', slice_index=number, coords=(x, y, 0),
            core_on_chip=0, process_index=number, id=8 * number + 2 * y + x,
        )
        for number, y, x in itertools.product(range(slices), range(4), range(2))
    ]  # fmt: skip


def test_the_data_axis_spans_slices_and_no_other_does():
    mesh = lay_out((4, 2, 2), tpus(2))
    assert mesh.shape == (4, 2, 2)
    assert sorted(d.id for d in mesh.flat) == list(range(16))
    assert [{d.slice_index for d in row.flat} for row in mesh] == [{0}, {0}, {1}, {1}]
    with pytest.raises(UserError, match=r'MeshConfig.data=3 is not divisible by the 2 slices'):
        lay_out((3, 2, 4), tpus(2))
    assert lay_out((1, 8, 1), tpus(1)).shape == (1, 8, 1)


def test_gpus_of_several_nodes_lie_in_the_order_of_their_nodes():
    """jax takes each node for a slice; here the data axis is that of one node alone."""
    gpus = [
        SimpleNamespace(platform='gpu', device_kind='NVIDIA H100', slice_index=n // 4, id=n)
        for n in range(8)
    ]
    mesh = lay_out((1, 8, 1), gpus[::-1])
    assert [d.id for d in mesh.flat] == list(range(8))

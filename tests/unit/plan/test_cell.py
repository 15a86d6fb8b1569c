"""Arithmetic of the bound by hand, the remedies of what does not fit, and the teacher's estimate."""

import dataclasses
import json

import pytest

from fsa_jax import flops
from fsa_jax.configs import (
    MeshConfig,
    OptimizerConfig,
    PlanConfig,
    RowsConfig,
    T5Config,
    TrainConfig,
)
from fsa_jax.errors import UserError
from fsa_jax.partition import mesh_shape
from fsa_jax.plan import hlo, page
from fsa_jax.plan.cell import Cell, fitted, remedies, scaled
from fsa_jax.plan.compiler import involuntary
from fsa_jax.plan.program import Knobs
from fsa_jax.plan.stage import lines
from fsa_jax.plan.teacher import estimate
from fsa_jax.plan.topology import CHIPS, GIB, parse
from fsa_jax.plan.worker import _needed, gathers_rows, summed

KNOBS = Knobs(
    TrainConfig(steps=1000),
    T5Config(dtype='bfloat16'),
    RowsConfig(batch_size=32),
    OptimizerConfig(),
    MeshConfig(),
)
SLICES = parse('v5e:4x4')
ANSWER = {
    'held': {'parameters': 1, 'optimizer': 2, 'gradients': 1, 'batch': 1},
    'seconds': 1.0,
    'memory': {'arguments': GIB, 'results': 0, 'temporaries': 2 * GIB, 'program': 0},
    'hbm_bytes': 819e9,
    'collectives': [
        {'kind': 'all-reduce', 'dtype': 'f32', 'network': 'ICI', 'gathers_rows': False,
         'operations': 1, 'bytes': 5, 'ici': 100e9, 'dcn': 0.0, 'largest': [5, 'f32[5]', '']},
        {'kind': 'all-reduce', 'dtype': 'f32', 'network': 'DCN', 'gathers_rows': False,
         'operations': 1, 'bytes': 5, 'ici': 0.0, 'dcn': 6.25e9, 'largest': [5, 'f32[5]', '']},
    ],
    'warnings': [],
}  # fmt: skip
NO_ROOM = {'held': {}, 'seconds': 1.0,
           'exhausted': {'message': '', 'needed': 20 * GIB, 'available': 15.75 * GIB}}  # fmt: skip


def test_each_clock_by_hand():
    line = Cell(SLICES, KNOBS, ANSWER).roofline
    needed = flops.train_step(KNOBS.model, 32, 256, 768)
    assert line.compute == pytest.approx(needed / (16 * 197e12))
    assert (line.memory, line.ici, line.dcn) == (pytest.approx(1), 0.5, 2.0)
    assert (line.bound, line.step) == ('DCN', 2.0)
    assert line.without_overlap == pytest.approx(3.5 + line.compute)
    assert line.mfu == pytest.approx(needed / (2 * 16 * 197e12))


def test_float32_and_rematerialisation_cost_compute_but_no_mfu():
    full = Knobs(KNOBS.train, KNOBS.model.replace(remat='full'), *list(vars(KNOBS).values())[2:])
    plain, again = Cell(SLICES, KNOBS, ANSWER).roofline, Cell(SLICES, full, ANSWER).roofline
    assert again.compute > 1.2 * plain.compute
    assert again.operations == plain.operations
    exact = Knobs(
        KNOBS.train, KNOBS.model.replace(dtype='float32'), *list(vars(KNOBS).values())[2:]
    )
    assert Cell(SLICES, exact, ANSWER).roofline.compute == pytest.approx(6 * plain.compute)
    assumed = '; a product in float32 takes 6 passes'
    for knobs in (KNOBS, exact):
        told = '\n'.join(lines(Cell(SLICES, knobs, ANSWER), PlanConfig()))
        assert (assumed in told) == (knobs is exact)


def held(gradients, **knobs):
    """An answer whose program shows nothing between slices, and the knobs it is of."""
    answer = ANSWER | {'held': ANSWER['held'] | {'gradients': gradients}, 'collectives': []}
    fields = vars(KNOBS) | {
        'train': KNOBS.train.replace(gradient_dtype=knobs.pop('gradient_dtype', 'float32')),
        'mesh': MeshConfig(**knobs),
    }
    return answer, Knobs(**fields)


@pytest.mark.parametrize(
    ('slices', 'gradients', 'knobs', 'expected'),
    [
        # 10^9 parameters on each of 16 chips: shares of 250 MB, of which a ring of two sends all.
        (2, 4e9, {}, 250e6),
        (2, 4e9, {'gradient_dtype': 'bfloat16'}, 125e6),
        # A ring of four sends 2 * 3/4.
        (4, 4e9, {}, 375e6),
        # The same cut over 8 chips: 500 MB a chip, which two hold alike.
        (2, 4e9 / 8, {'preset': 'fsdp', 'fsdp': 8}, 250e6),
        # One copy in a slice: nothing is shared out.
        (2, 4e9 / 16, {'preset': 'fsdp', 'fsdp': 16}, 250e6),
        (1, 4e9, {}, 0),
    ],
)
def test_gradients_between_slices_by_hand(slices, gradients, knobs, expected):
    answer, knobs = held(gradients, **knobs)
    cell = Cell(parse('v5e:4x4', slices), knobs, answer)
    assert cell.roofline.between_slices == pytest.approx(expected)
    assert cell.roofline.dcn == pytest.approx(expected / 3.125e9)  # 6.4 Tbit/s over 256 chips
    content = cell.to_json(0.0)
    assert content['roofline']['between_slices'] == cell.roofline.between_slices
    assert page.summary(content)[4] == f'0.00 / {expected / 1e9:.2f}'
    told = '\n'.join(lines(cell, PlanConfig()))
    assert ('between slices, by arithmetic' in told) == (slices > 1)


def test_what_the_program_shows_between_slices_is_not_counted_twice():
    cell = Cell(parse('v5e:4x4', 2), KNOBS, ANSWER)
    assert (cell.roofline.between_slices, cell.roofline.dcn) == (0.0, 2.0)


def test_the_step_is_bound_by_what_crosses_between_slices():
    answer, knobs = held(400e9)
    line = Cell(parse('v5e:4x4', 2), knobs, answer).roofline
    assert (line.bound, line.step) == ('DCN', pytest.approx(25 / 3.125))


def test_hours_and_cost():
    content = Cell(SLICES, KNOBS, ANSWER).to_json(price=1.5)
    assert content['hours'] == pytest.approx(2 * 1000 / 3600)
    assert content['cost'] == pytest.approx(1.5 * 16 * content['hours'])
    assert content['headroom'] == CHIPS['v5e'].hbm - 3 * GIB
    told = '\n'.join(lines(Cell(SLICES, KNOBS, ANSWER), PlanConfig(price_per_chip_hour=1.5)))
    assert 'cost 13.33' in told
    assert 'headroom 12.75' in told
    assert 'all-reduce over DCN in f32: 1 a step' in told


def test_remedies_in_their_order():
    found = [bindings[-1] for _, bindings in remedies(KNOBS, SLICES)]
    assert found[:2] == ['--gin.T5Config.remat=minimal', '--gin.T5Config.remat=full']
    last, bindings = list(remedies(KNOBS, SLICES))[-1]
    assert '--gin.RowsConfig.microbatches=2' in bindings
    assert (last.mesh.tensor, last.mesh.fsdp, last.mesh.preset) == (8, 2, 'fsdp_tp')
    assert last.model.remat == 'full'


def test_remedies_over_slices_leave_the_data_axis_to_span_them():
    found = [knobs.mesh for knobs, _ in remedies(KNOBS, parse('v5e:2x4', 2))][2:]
    shapes = [mesh_shape(mesh, 16) for mesh in found]
    assert shapes == [(2, 8, 1), (2, 8, 1), (2, 2, 4), (2, 1, 8)]


def test_a_batch_that_microbatches_do_not_divide_has_the_other_remedies():
    odd = dataclasses.replace(KNOBS, rows=RowsConfig(batch_size=100))
    assert fitted(odd, SLICES, 9, lambda *_: NO_ROOM).failed
    assert all(knobs.rows.microbatches == 1 for knobs, _ in remedies(odd, SLICES))


def test_what_does_not_fit_says_by_how_much_and_what_makes_it_fit():
    asked = []

    def ask(knobs, slices):
        asked.append(knobs)
        return ANSWER if knobs.mesh.fsdp == 16 else NO_ROOM

    cell = fitted(KNOBS, SLICES, 4, ask)
    assert cell.fits
    assert len(asked) == 4
    assert cell.failed[0] == 'as given: does not fit: 4.2 GiB more a chip than its 15.75 GiB'
    assert '--gin.MeshConfig.fsdp=16' in cell.changes
    told = '\n'.join(lines(cell, PlanConfig()))
    assert 'fits with --gin.T5Config.remat=full' in told
    limited = fitted(KNOBS, SLICES, 1, ask)
    assert not limited.fits
    assert 'does not fit: 4.2 GiB more' in lines(limited, PlanConfig())[-2]


def test_a_remedy_that_the_model_refuses_is_passed_over():
    def ask(knobs, slices):
        if knobs.mesh.fsdp == 16:
            raise UserError('not divisible')
        return ANSWER if knobs.rows.microbatches > 1 else NO_ROOM

    assert fitted(KNOBS, SLICES, 9, ask).knobs.rows.microbatches == 2


def test_rows_per_chip():
    assert scaled(KNOBS, PlanConfig(rows_per_chip=4), SLICES).rows.batch_size == 64
    assert scaled(KNOBS, PlanConfig(), SLICES) is KNOBS


def test_knobs_survive_json():
    told = KNOBS.to_json()
    assert (
        json.loads(json.dumps(told)) == told
    )  # so a cell of plan.json is known for the same question
    assert Knobs.from_json(told) == KNOBS


def test_the_compilers_refusals_are_read():
    told = _needed(
        'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.'
    )
    assert (told['needed'], told['available']) == (20.5 * GIB, 15.75 * GIB)
    told = _needed('temporaries (400.00G) exceeds available HBM (15.75G).')
    assert (told['needed'], told['available']) == (400 * GIB, 15.75 * GIB)


def collective(kind, shape, groups):
    return hlo.Collective(kind, (hlo.Array('f32', shape),), groups, 2, 'x')


def test_collectives_are_summed_by_network():
    """Two slices of two partitions each."""
    within, across = ((0, 1), (2, 3)), ((0, 2), (1, 3))
    rows = summed(
        [collective('all-reduce', (1 << 20,), g) for g in (within, across, across)],
        [0, 0, 1, 1],
        KNOBS,
    )
    by_network = {r['network']: r for r in rows}
    assert {name: r['operations'] for name, r in by_network.items()} == {'ICI': 2, 'DCN': 4}
    assert (by_network['ICI']['ici'], by_network['ICI']['dcn']) == (2 * 4 << 20, 0)
    assert (by_network['DCN']['ici'], by_network['DCN']['dcn']) == (0, 4 * 4 << 20)


@pytest.mark.parametrize(
    ('kind', 'ici', 'dcn'),
    [
        ('all-reduce', 2 * 3 / 4, 2 * 1 / 2 / 4),
        ('all-gather', 3 / 4, 1 / 2 / 4),
        ('reduce-scatter', 3 / 4, 1 / 2 / 4),
        ('all-to-all', 3 / 4 / 2, 1 / 2),
        ('collective-permute', 0, 1),
    ],
)
def test_a_group_over_two_slices_of_four(kind, ici, dcn):
    one = hlo.Collective(kind, (hlo.Array('u8', (1000,)),), (tuple(range(8)),), 1, '')
    assert one.sent([0] * 4 + [1] * 4) == pytest.approx((1000 * ici, 1000 * dcn))


def test_an_activation_of_the_whole_batch_is_known_from_a_weight():
    groups = (tuple(range(16)),)
    assert gathers_rows(collective('all-gather', (32, 768, 512), groups), KNOBS)
    assert not gathers_rows(collective('all-gather', (2, 768, 512), groups), KNOBS)
    assert not gathers_rows(collective('all-gather', (6, 512, 2048), groups), KNOBS)


def test_warnings_of_the_partitioner_are_kept_once():
    line = 'W0000 00:00:1 1 spmd.cc:1] [SPMD] Involuntary full rematerialization. The compiler …'
    assert involuntary(f'other\n{line}\n{line}\n') == [line.partition('] ')[2]]


def test_the_page_says_what_was_not_compiled():
    text = page.table({'cells': {'base v5e-16': Cell(SLICES, KNOBS, ANSWER).to_json(0.0)}},
                      ('base',), ('v5e-16', 'v5e-64'))  # fmt: skip
    assert '| base | v5e-16 | dp, fsdp 1, tensor 1; 32 / 1 | 3.00 / 15.75 | 2000.0 | DCN |' in text
    assert '| base | v5e-64 |  | not measured |' in text


def test_the_teacher_by_hand():
    """8 billion parameters on one H100: 2 * 8e9 operations a token, 16 GB read for a step of 128."""
    plan = PlanConfig(teacher_parameters=8.0, teacher_efficiency=1.0, teacher_generations=1000)
    told = estimate(plan)
    reading, token = 16e9 * 400 / 989e12, max(16e9 / 3350e9, 16e9 * 128 / 989e12) / 128
    assert told.chip_hours == pytest.approx(1000 * (reading + 250 * token) / 3600)
    assert (told.replica, told.input_tokens, told.output_tokens) == (1, 400e3, 250e3)
    assert estimate(plan.replace(teacher_parameters=70.0)).replica == 4


def test_a_mixture_of_experts_reads_all_weights_and_computes_with_some():
    """Mixtral 8x7B: 47 billion parameters, 13 a token, on two H100."""
    plan = PlanConfig(
        teacher_parameters=47.0, teacher_active_parameters=13.0, teacher_efficiency=1.0
    )
    told, dense = estimate(plan), estimate(plan.replace(teacher_active_parameters=0.0))
    assert told.replica == dense.replica == 2
    seconds = 26e9 * 400 / (2 * 989e12) + 250 * (94e9 / (2 * 3350e9)) / 128
    assert told.replica_hours == pytest.approx(plan.teacher_generations * seconds / 3600)
    assert told.replica_hours < dense.replica_hours
    with pytest.raises(UserError, match='teacher_active_parameters=13 are more than'):
        plan.replace(teacher_parameters=12.0)

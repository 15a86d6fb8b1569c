"""Counts read off HLO that jax compiled for eight devices, against what the programs do."""

import json
import subprocess
import sys

import pytest

from fsa_jax.plan import hlo, traffic
from tests.conftest import REPOSITORY
from tests.processes import environment
from tests.unit.plan.hlo_job import INNER, OUTER

X = 16 * 32 * 4  # bytes of the array that is sent


@pytest.fixture(scope='module')
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('hlo')
    done = subprocess.run(
        [sys.executable, '-m', 'tests.unit.plan.hlo_job', folder],
        cwd=REPOSITORY, env=environment(8), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def module(programs, name):
    return hlo.parse((programs / f'{name}.txt').read_text())


def only(programs, name):
    (found,) = hlo.collectives(module(programs, name))
    return found


def sent(collective):
    """Over ICI, all devices being one slice."""
    ici, dcn = collective.sent([0] * 8)
    assert dcn == 0
    return ici


def test_nested_loops_multiply(programs):
    found = only(programs, 'nested')
    assert (found.kind, found.times) == ('all-reduce', OUTER * INNER)
    assert found.bytes == OUTER * INNER * X
    assert sent(found) == found.bytes * 2 * 3 / 4
    assert sorted(found.groups) == [(0, 2, 4, 6), (1, 3, 5, 7)]


def test_an_all_gather_counts_what_comes_out(programs):
    found = only(programs, 'all-gather')
    assert (found.kind, found.times, found.bytes) == ('all-gather', INNER, INNER * 2 * X)
    assert sent(found) == found.bytes / 2
    assert sorted(found.groups) == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_a_reduce_scatter_counts_what_goes_in(programs):
    found = only(programs, 'reduce-scatter')
    assert (found.kind, found.bytes, sent(found)) == ('reduce-scatter', X, X * 3 / 4)


def test_an_all_to_all(programs):
    found = only(programs, 'all-to-all')
    assert (found.kind, found.bytes, sent(found)) == ('all-to-all', X, X * 3 / 4)


def test_a_permute_sends_all_of_it(programs):
    found = only(programs, 'collective-permute')
    assert (found.kind, found.bytes, sent(found)) == ('collective-permute', X, X)
    assert (0, 2) in found.groups  # along 'a', which is the slow axis of the mesh


def test_what_the_partitioner_puts_in_is_found(programs):
    """v is cut over rows, so that v.T @ v is a sum over 'a'."""
    kinds = {c.kind: c for c in hlo.collectives(module(programs, 'partitioned'))}
    assert kinds['all-reduce'].arrays[0].shape == (32, 32)
    assert len(kinds['all-reduce'].groups[0]) == 4


def test_a_loop_without_a_count_is_an_error(programs):
    with pytest.raises(ValueError, match='trip count'):
        list(module(programs, 'until').runs())


def test_bytes_without_a_loop_are_the_compilers(programs):
    cost = json.loads((programs / 'cost.json').read_text())['flat']
    assert traffic.hbm_bytes(module(programs, 'flat')) == pytest.approx(cost, rel=0.02)


def test_a_scan_reads_a_slice_at_a_time(programs):
    """Each trip reads the carry and one matrix and writes the carry; the stack is not read whole."""
    matrix = 256 * 256 * 4
    found = traffic.hbm_bytes(module(programs, 'stacked'))
    assert 3 * INNER * matrix <= found <= 8 * INNER * matrix


STARTS = """HloModule starts, num_partitions=4
ENTRY %main (x: f32[16,32]) -> f32[16,32] {
  %x = f32[16,32]{1,0} parameter(0)
  %a = (f32[16,32]{1,0}, f32[64,32]{1,0}) all-gather-start(%x), replica_groups=[1,4]<=[4], dimensions={0}
  %b = f32[64,32]{1,0} all-gather-done(%a)
  %c = ((f32[64,32]{1,0}), f32[16,32]{1,0}, u32[]{:S(2)}) reduce-scatter-start(%b), replica_groups=[1,4]<=[4], to_apply=%add
  %d = f32[16,32]{1,0} reduce-scatter-done(%c)
  %e = (f32[16,32]{1,0}, f32[16,32]{1,0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%d), source_target_pairs={{0,1},{1,2}}
  %f = f32[16,32]{1,0} collective-permute-done(%e)
  ROOT %g = f32[16,32]{1,0} all-reduce-start(%f), replica_groups={}, to_apply=%add
}
"""


def test_what_an_asynchronous_start_lists_beside_its_result_is_not_counted():
    """All of X or four times X, each read once and written once; the operand stands in the type too."""
    module = hlo.parse(STARTS)
    found = {c.kind: c.bytes for c in hlo.collectives(module)}
    assert found == {
        'all-gather': 4 * X, 'reduce-scatter': 4 * X, 'collective-permute': X, 'all-reduce': X,
    }  # fmt: skip
    assert traffic.hbm_bytes(module) == (1 + 4) * X + (4 + 1) * X + 2 * X + 2 * X


@pytest.mark.parametrize(
    ('written', 'groups'),
    [
        ('{{0,1},{2,3}}', [(0, 1), (2, 3)]),
        ('[2,2]<=[4]', [(0, 1), (2, 3)]),
        ('[2,2]<=[2,2]T(1,0)', [(0, 2), (1, 3)]),
        ("mesh['x'=2,'y'=2] {'y'}", [(0, 1), (2, 3)]),
        ("mesh['x'=2,'y'=2] {'x'}", [(0, 2), (1, 3)]),
        ("mesh['x'=4] {'x':(1)2}", [(0, 2), (1, 3)]),
        ("mesh['x'=4] {'x':(2)2}", [(0, 1), (2, 3)]),
        ("mesh['x'=2,'y'=2], device_ids=([4]<=[2,2]T(1,0)) {'y'}", [(0, 2), (1, 3)]),
        ("mesh['x'=2,'y'=2], device_ids=([2,2]T(1,0)) {'y'}", [(0, 2), (1, 3)]),
        ('{}', [(0, 1, 2, 3)]),
    ],
)
def test_the_ways_to_write_replica_groups(written, groups):
    text = f'replica_groups={written}, to_apply=%add'
    instruction = hlo.Instruction('r', (), 'all-reduce', (), text, False)
    assert sorted(hlo._groups(instruction, 4)) == groups

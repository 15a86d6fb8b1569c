"""The benchmarks: their arithmetic, and that each runs from end to end on a toy. No time is asserted."""

import argparse
import importlib
import json
import math
import sys

import numpy as np
import pytest

from fsa_jax import compilation
from tests.bench import harness


def test_sides_alternate_after_a_warm_up():
    ran, now = [], iter(range(100))
    sides = {'a': lambda: ran.append('a'), 'b': lambda: ran.append('b')}
    seconds = harness.alternate(sides, rounds=3, clock=lambda: float(next(now)))
    assert ''.join(ran) == 'ab' + 'ab' * 3
    assert seconds == {'a': [1.0, 1.0, 1.0], 'b': [1.0, 1.0, 1.0]}


def test_ratio_is_that_of_medians_and_meets_its_goal_or_not():
    report = harness.Report('toy', {})
    report.rows = [
        harness.Row('fast', 'pairs/s', [4.0, 100.0, 3.0]),
        harness.Row('slow', 'pairs/s', [2.0, 1.0, 2.5]),
    ]
    report.ratio('fast / slow', 'fast', 'slow', at_least=2.0)
    report.ratio('too slow', 'slow', 'fast', at_least=1.0)
    report.ratio('small enough', 'slow', 'fast', at_most=0.5)
    report.ratio('no goal', 'slow', 'fast')
    assert [goal.value for goal in report.goals] == [2.0, 0.5, 0.5, 0.5]
    assert [goal.met for goal in report.goals] == [True, False, True, None]


def test_results_of_other_devices_stay_in_the_file(tmp_path):
    cpu = harness.Report('toy', {'pairs': 3}, 'cpu', [harness.Row('fast', 's', [1.0, 3.0, 9.0])])
    path = cpu.publish(tmp_path)
    assert json.loads(path.read_text())['gpu'] == 'not measured'
    gpu = harness.Report('toy', {}, 'gpu', [harness.Row('fast', 's', [2.0])])
    gpu.publish(tmp_path)
    content = json.loads(path.read_text())
    assert content['cpu']['rows'][0]['median'] == 3.0
    assert content['cpu']['rows'][0]['samples'] == [1.0, 3.0, 9.0]
    assert content['cpu']['machine']['cores'] == harness.CORES
    assert content['cpu']['versions']['jax']
    assert content['gpu']['rows'][0]['median'] == 2.0


ROWS = {
    'training': ['torch plain float32', 'ours packed float32', 'memory ours packed float32'],
    'decoding': ['generate float32', 'ours float32', 'ours bfloat16'],
    'packing': ['text to store', 'bare tokeniser, a text a call', 'store to packed rows'],
    'constrained': ['free', 'constrained'],
    'zero_shot': ['torch', 'ours'],
    'corpus': ['parse and check', 'fsa corpus, 400 answers', 'memory, 400 answers'],
    'startup': ['command to first step, cold', 'command to first step, warm'],
    'seeds': ['together', 'one after another'],
    'utilisation': ['2 rows, scanned', '2 rows, unrolled'],
}


@pytest.mark.parametrize('name', ROWS)
def test_every_benchmark_runs_on_a_toy(name, tmp_path, monkeypatch, capsys):
    pytest.importorskip('torch')
    compilation.cache_programs(str(tmp_path / 'programs'))  # processes of a real run are one here
    monkeypatch.setenv('FSA_SHARED', str(tmp_path / 'nowhere'))  # a toy needs no real data
    monkeypatch.setattr(sys, 'argv', ['bench', '--tiny', f'--output={tmp_path}'])
    importlib.import_module(f'tests.bench.{name}').main()
    text = (tmp_path / f'bench_{name}.json').read_text()
    run = json.loads(text)['cpu']
    rows = {row['name']: row for row in run['rows']}
    assert set(ROWS[name]) <= rows.keys()
    assert all(row['median'] > 0 and row['samples'] for row in rows.values())
    assert all(math.isfinite(goal['value']) for goal in run['goals'])
    assert 'was fresh' not in text  # nothing of what the pairs say


def test_both_sides_of_decoding_generate_the_same_ids(tmp_path):
    pytest.importorskip('torch')
    from tests.bench import decoding
    from tests.bench.random_student import RandomStudent

    student = RandomStudent(argparse.Namespace(tiny=True, rounds=0), tmp_path)
    sides = decoding.make_sides(student, tmp_path / 'hf', [[5, 9, 1], [7, 3, 11, 1]], length=6)
    assert sides['ours float32']() == sides['generate float32']()


@pytest.mark.data
@pytest.mark.parametrize('decay', [0.0, 0.01])
def test_the_optimizer_of_the_torch_loop_is_the_published_one(shared, decay):
    torch = pytest.importorskip('torch')
    from tests.bench.torch_side import AdamWScale

    oracle = np.load(shared / 'oracle' / 'adamw_scale.npz')
    for key in [key for key in oracle.files if key.startswith('p0/')]:
        name = key.removeprefix('p0/')
        parameter = torch.nn.Parameter(torch.tensor(oracle[key]))
        optimizer = AdamWScale([parameter], lr=3e-3, weight_decay=decay)
        for step in range(6):
            parameter.grad = torch.tensor(oracle[f'g{step}/{name}'])
            optimizer.step()
            expected = oracle[f'wd{decay}/p{step + 1}/{name}']
            error = np.abs(parameter.detach().numpy() - expected).max() / np.abs(expected).max()
            assert error < 1e-6

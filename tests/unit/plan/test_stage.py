"""`fsa plan` from its command line to plan.json, with answers in the place of the compiler."""

import dataclasses
import json
import subprocess

import pytest

from fsa_jax import cli
from fsa_jax.errors import UserError
from fsa_jax.plan import compiler, stage
from fsa_jax.plan.topology import CHOSEN, parse
from tests.unit.plan.test_cell import ANSWER, KNOBS, NO_ROOM, SLICES

RUN = '--gin_file=run/distil_t5_base_packed.gin'


@pytest.fixture
def asked(monkeypatch):
    """(remat, chips) of each question; answers: no slice has room before remat is 'full', and the
    mesh does not go over 64 chips."""
    found = []

    def ask(knobs, slices, kept, effort):
        found.append((knobs.model.remat, slices.chips))
        if slices.chips == 64:
            raise UserError('batch 32 is not divisible by 64 data shards')
        return ANSWER if knobs.model.remat == 'full' else NO_ROOM

    monkeypatch.setattr(compiler, 'ask', ask)
    monkeypatch.setattr(stage, 'find_libtpu', lambda: None)
    return found


def test_a_plan_is_printed_and_written(asked, capsys, tmp_path):
    """No data is there, and none is asked for."""
    price = '--gin.PlanConfig.price_per_chip_hour=1.5'
    slices = ['--topology', 'v5e:4x4', 'v6e-8', 'v5e-16']
    assert cli.main(['plan', RUN, *slices, price, f'--output={tmp_path}/plan']) == 0
    assert asked == [(r, n) for n in (16, 8) for r in ('none', 'minimal', 'full')], (
        'each slice once'
    )
    out = capsys.readouterr().out
    assert 'as given: does not fit: 4.2 GiB more a chip than its 15.75 GiB' in out
    assert 'fits with --gin.T5Config.remat=full' in out
    assert '200,000 steps: at least 111.11 hours, 1777.8 chip-hours, cost 2,666.67' in out
    assert 'not a measurement' in out
    first, second = json.loads((tmp_path / 'plan' / 'plan.json').read_text())['slices']
    assert (first['slice'], first['chips'], second['slice']) == ('v5e-16', 16, 'v6e-8')
    assert first['changes'] == ['--gin.T5Config.remat=full']
    assert first['cost'] == pytest.approx(1.5 * first['chip_hours'])


def test_slices_that_the_run_does_not_fit_are_said_and_left_out(asked, capsys):
    assert cli.main(['plan', RUN, '--all']) == 0
    told = capsys.readouterr()
    refused = [line.partition(':')[0] for line in told.err.splitlines() if '64 data shards' in line]
    assert refused == ['v5e-64', 'v5p-128', 'v6e-64']
    printed = {line.partition(':')[0] for line in told.out.splitlines()}
    assert printed & set(CHOSEN) == set(CHOSEN) - set(refused)


def test_slices_are_joined(asked, capsys):
    assert cli.main(['plan', RUN, '--topology=v5e-16', '--num_slices=2']) == 0
    assert '2 x v5e-16: 2 x v5e:4x4, 32 chips' in capsys.readouterr().out


def test_one_slice_that_does_not_fit_is_one_line(asked, capsys):
    assert cli.main(['plan', RUN, '--topology=v5e-64']) == 2
    assert 'fsa: batch 32 is not divisible by 64 data shards' in capsys.readouterr().err


def test_a_teacher_needs_no_compiler(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv('FSA_LIBTPU', str(tmp_path))
    teacher = [
        '--gin.PlanConfig.teacher_parameters=47', '--gin.PlanConfig.teacher_active_parameters=13',
        '--gin.PlanConfig.teacher_generations=1000000',
    ]  # fmt: skip
    assert cli.main(['plan', *teacher]) == 0
    told = capsys.readouterr().out
    assert 'teacher: 4e+08 tokens read, 2.5e+08 written, a corpus of 2.92 GB' in told
    assert 'replicas of 2 chips' in told
    assert 'an estimate' in told


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ([], 'nothing to plan: name slices'),
        (['--topology=v5e-17'], "did you mean 'v5e-1"),
        (
            ['--topology=v5e-16'],
            'needs libtpu, the TPU compiler (no TPU is needed): run ./launch/plan',
        ),
    ],
)
def test_mistakes_are_one_line(options, message, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv('FSA_LIBTPU', str(tmp_path))
    if 'v5e-17' in ''.join(options):
        monkeypatch.setattr(stage, 'find_libtpu', lambda: None)
    assert cli.main(['plan', *options]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


def test_a_question_is_compiled_once(monkeypatch, tmp_path):
    """Another knob, other slices or another effort is another question."""
    compiled = []
    monkeypatch.setattr(compiler, 'find_libtpu', lambda: tmp_path / 'libtpu' / 'libtpu.so')
    monkeypatch.setattr(compiler, '_run', lambda request, _: compiled.append(request) or ANSWER)
    other = dataclasses.replace(KNOBS, model=KNOBS.model.replace(remat='full'))
    for _ in range(2):
        assert compiler.ask(KNOBS, SLICES, tmp_path / 'kept') == ANSWER
        compiler.ask(other, SLICES, tmp_path / 'kept')
        compiler.ask(KNOBS, parse('v5e:4x4', 2), tmp_path / 'kept')
        compiler.ask(KNOBS, SLICES, tmp_path / 'kept', 'quick')
    assert len(compiled) == 4


def test_a_compiler_that_crashes_is_one_line(monkeypatch, tmp_path):
    def killed(*_, **__):
        return subprocess.CompletedProcess([], -11, '', 'at work\nRaising signal 11\n\n')

    monkeypatch.setattr(compiler.subprocess, 'run', killed)
    with pytest.raises(
        UserError, match=r'itself failed \(exit status -11: Raising signal 11\); anoth'
    ):
        compiler._run({}, tmp_path / 'libtpu.so')

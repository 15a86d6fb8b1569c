"""The demo on a very small world: every stage runs, is left alone when it is done, and is accounted for."""

import json
from pathlib import Path

import pytest

from fsa_jax import configs as c
from fsa_jax import manifest, stages
from fsa_jax.train.checkpoint import open_model

DATASET = 'atsa_lab_restaurant'
TINY = c.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1, num_heads=2)


@pytest.fixture(scope='module')
def jobs():
    demo = c.DemoConfig(
        seeds=(7,), vocabulary_size=400, distil_steps=3, distil_batch=4, fine_tune_epochs=1.0
    )
    lab = c.LabConfig(
        corpus_reviews=40, train_sentences=32, validation_sentences=8, test_sentences=12,
        hard_test_sentences=8,
    )  # fmt: skip
    return demo, lab, TINY


@pytest.fixture(scope='module')
def folder(jobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo') / 'out'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('FSA_DATA_DIR', str(folder.parent))  # a demo does not read it
        stages.run('demo', jobs, folder)
    return folder


def test_the_data_is_that_of_the_demo(folder):
    for packed in ('corpus', 'benchmark'):
        content = manifest.read(folder / 'packed' / packed)
        assert content['knobs']['PackConfig.data_dir'] == str(folder / 'world')
        paths = [Path(entry['path']) for entry in content['inputs'].values()]
        assert all(path.is_relative_to(folder) for path in paths)


def test_student_and_control_differ_in_their_start_alone(folder):
    control, student = (
        manifest.read(folder / DATASET / f'{system}-7')['knobs']
        for system in ('control', 'student')
    )
    assert {name for name in control if control[name] != student[name]} == {'TrainConfig.init'}
    assert student['TrainConfig.seed'] == student['RowsConfig.seed'] == 7


def test_the_results_are_those_of_the_score_folders(folder):
    found = json.loads((folder / 'results.json').read_text())
    assert found['data'] == 'synthetic'
    f1 = found['f1'][DATASET]
    for system in ('control', 'student'):
        scores = json.loads((folder / DATASET / f'scores-{system}-7/scores.json').read_text())
        normal = scores['tasks'][f'fsa_{DATASET}']['subsets']['normal']['f1']
        assert f1[system]['normal']['seeds'] == [pytest.approx(100 * normal, abs=0.01)]
    assert f1['baseline'].keys() == f1['student'].keys()


def test_report_and_export_are_there(folder):
    page = (folder / 'report' / 'report.html').read_text()
    assert 'synthetic data' in page
    assert (folder / 'export' / 'model.safetensors').is_file()
    assert 'micro F1' in (folder / 'export' / 'README.md').read_text()
    assert open_model(folder / 'reimported').config.d_model == 16


def test_a_finished_demo_is_recognised(folder, jobs):
    before = (folder / 'results.json').stat().st_mtime_ns
    with pytest.raises(manifest.AlreadyDone):
        stages.run('demo', jobs, folder)
    assert (folder / 'results.json').stat().st_mtime_ns == before


@pytest.mark.data
def test_every_stage_on_real_data(shared, tmp_path, capsys):
    """`launch/real_smoke.sh` in small: real answers, sentences and vocabulary, the first of each."""
    data = shared / 'data'
    first = tmp_path / 'data'
    (first / 'corpus').mkdir(parents=True)
    lines = (data / 'corpus' / 'mixtral_250.json').read_text(encoding='utf-8-sig').splitlines()
    (first / 'corpus' / 'answers.json').write_text('\n'.join(lines[:24]))
    sentences = first / 'fsa' / 'acsa' / 'laptop16'  # a dataset that is not here, by its path alone
    sentences.mkdir(parents=True)
    for name in ('train', 'dev', 'test', 'hard_test'):
        records = json.loads((data / f'fsa/acsa/rest16/{name}.json').read_text('utf-8-sig'))
        (sentences / f'{name}.json').write_text(json.dumps(records[:16]))
    (first / 't5').symlink_to(data / 't5')
    demo = c.DemoConfig(
        data=str(first), datasets=('acsa_laptop16',), seeds=(7,), input_length=128,
        target_length=400, row_encoder_length=128, row_decoder_length=400, distil_steps=2,
        distil_batch=2, fine_tune_epochs=1.0,
    )  # fmt: skip
    stages.run('demo', (demo, c.LabConfig(), TINY), tmp_path / 'out')
    found = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert found['data'] == 'real'
    assert found['f1']['acsa_laptop16']['baseline']['normal'] > 0
    config = open_model(tmp_path / 'out' / 'reimported').config
    assert config.vocab_size == 32101
    page = (tmp_path / 'out' / 'report' / 'report.html').read_text()
    assert 'real data' in page
    assert 'synthetic' not in page
    printed = capsys.readouterr()
    assert 'real data' in printed.out
    assert 'report.html' in printed.err

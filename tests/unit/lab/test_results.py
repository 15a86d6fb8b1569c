"""What results.json says of the machine it was made on."""

import json

from fsa_jax import manifest
from fsa_jax.configs import DemoConfig
from fsa_jax.lab import results


def test_results_do_not_tell_where_the_data_lies(tmp_path, monkeypatch):
    score = {'f1': 0.5, 'f1_interval': [0.4, 0.6]}
    task = {'subsets': {'normal': score}, 'baseline': {'subsets': {'normal': {'f1': 0.1}}}}
    for system in results.SYSTEMS:
        folder = tmp_path / 'atsa_x' / f'scores-{system}-0'
        folder.mkdir(parents=True)
        (folder / 'scores.json').write_text(json.dumps({'tasks': {'fsa_atsa_x': task}}))
    demo = DemoConfig(data='/home/somebody/data', datasets=('atsa_x',), seeds=(0,))
    command = ['fsa', 'demo', '--gin.DemoConfig.data=/home/somebody/data', '--output=out']
    monkeypatch.setattr('sys.argv', command)
    found = results.collect(tmp_path, demo, manifest.knobs([demo]))
    assert found['command'] == 'fsa demo --gin.DemoConfig.data=DATA_DIR --output=out'
    assert found['knobs']['DemoConfig.data'] == 'DATA_DIR'
    assert 'somebody' not in json.dumps(found)
    assert found['f1']['atsa_x']['student']['normal']['mean'] == 50.0


def test_the_table_names_its_data_and_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    f1 = {
        'baseline': {'normal': 4.35},
        'control': {'normal': {'mean': 37.814, 'sd': 2.85}},
        'student': {'normal': {'mean': 53.9, 'sd': 1.72}},
    }
    results.print_table({'data': 'synthetic', 'f1': {'atsa_lab_restaurant': f1}})
    lines = capsys.readouterr().out.splitlines()
    assert 'SYNTHETIC' in lines[0]
    row = 'atsa_lab_restaurant normal 4.35 37.81 ± 2.85 53.90 ± 1.72 +16.09'
    assert row in [' '.join(line.split()) for line in lines]
    assert max(map(len, lines)) <= 80
    f1['student']['normal']['sd'] = None  # one seed
    results.print_table({'data': 'real', 'f1': {'atsa_rest14': f1}})
    out = capsys.readouterr().out
    assert 'SYNTHETIC' not in out
    assert '53.90 ±' not in out

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

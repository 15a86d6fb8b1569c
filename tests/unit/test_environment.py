"""What a manifest says of the machine."""

import shlex
from types import SimpleNamespace

from fsa_jax import environment, manifest
from fsa_jax.configs import ScoreConfig


def test_devices_are_counted_by_kind(tmp_path):
    chips = [SimpleNamespace(device_kind='TPU v5 lite')] * 4
    assert environment.machine(chips)['devices'] == {'TPU v5 lite': 4}
    assert environment.machine()['devices'] == {}
    with manifest.output(tmp_path / 'out', 'score', [ScoreConfig()]) as out:
        out.devices = chips
    assert manifest.read(tmp_path / 'out')['machine']['devices'] == {'TPU v5 lite': 4}


def test_only_whole_paths_get_a_name(monkeypatch):
    names = {'data': 'DATA_DIR', 'data/t5/': 'VOCABULARY', '.': 'HERE', '': 'NOTHING'}
    words = [
        '--gin.C.data_dir=data',
        "--gin.C.models={'a': 'data/t5', 'b': 'my.data'}",
        '--output=.',
    ]
    monkeypatch.setattr('sys.argv', ['fsa', 'benchmark', *words])
    told = shlex.split(environment.command(names))
    assert told == [
        'fsa', 'benchmark', '--gin.C.data_dir=DATA_DIR', "--gin.C.models={'a': 'VOCABULARY', 'b': 'my.data'}",
        '--output=HERE',
    ]  # fmt: skip
    knobs = {'C.data': 'data/fsa', 'C.n': 3, 'C.models': {'data': 'data'}}
    shown = {'C.data': 'DATA_DIR/fsa', 'C.n': 3, 'C.models': {'data': 'DATA_DIR'}}
    assert environment.nameless(knobs, names) == shown

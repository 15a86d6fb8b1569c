"""What a manifest says of the machine."""

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

"""`fsa train --dry-run` on a small job."""

import pytest

from fsa_jax.errors import UserError
from fsa_jax.train.preview import preview
from tests import training


@pytest.mark.parametrize('layout', ['packed', 'pairs'])
def test_preview_prints_shapes_memory_and_the_first_batch_and_writes_nothing(
    tmp_path, tiny_spiece, capsys, layout
):
    packed = training.pack(tmp_path / 'p', tiny_spiece, train=8)
    knobs = {'layout': layout, 'encoder_length': 64, 'decoder_length': 64, 'batch_size': 2}
    knobs |= {'shuffle': False, 'vocab_padding': 8}
    before = sorted(tmp_path.rglob('*'))
    preview(*training.configs(packed, tmp_path / 'xla', **knobs))
    printed = capsys.readouterr().out
    assert sorted(tmp_path.rglob('*')) == before
    # d_model 32, d_ff 64, 2 x 16 heads, 2 + 2 layers, 304 rows, worked out by hand:
    encoder, decoder = 4 * 32 * 32 + 2 * 32 * 64 + 2 * 32, 8 * 32 * 32 + 2 * 32 * 64 + 3 * 32
    total = 304 * 32 + 2 * (encoder + decoder) + 2 * 32 * 2 + 2 * 32
    assert f'{total:,} parameters and 256 of padding' in printed
    assert 'decoder/layers/mlp/wi/kernel' in printed
    assert '2 x 32 x 64' in printed
    for part in ('parameters  ', 'optimizer state', 'batch  ', 'temporaries'):
        assert part in printed
    (sentence, target), *_ = training.sentences(8, seed=5)
    assert sentence in printed
    assert target in printed


def test_preview_of_several_seeds_refuses_what_their_run_would(tmp_path, tiny_spiece, capsys):
    packed = training.pack(tmp_path / 'p', tiny_spiece, train=8)
    knobs = {'seeds': (1, 2), 'batch_size': 2, 'steps': 2}
    preview(*training.configs(packed, tmp_path / 'xla', **knobs))
    assert 'of one of 2 seeds' in capsys.readouterr().out
    with pytest.raises(UserError, match=r"TrainConfig.seeds needs RowsConfig.layout='pairs'"):
        preview(*training.configs(packed, tmp_path / 'xla', **knobs, layout='packed'))

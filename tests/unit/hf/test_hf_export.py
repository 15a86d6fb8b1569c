import numpy as np
import pytest
from safetensors.numpy import load_file

from fsa_jax.configs import T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.hf import export, tokenizer

SMALL = T5Config(
    vocab_size=300, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=2, num_heads=2
)


def test_names_and_transposes_by_hand(tmp_path, params_of):
    params = params_of(SMALL)
    export.save_pretrained(tmp_path / 'm', SMALL, params)
    theirs = load_file(tmp_path / 'm' / 'model.safetensors')
    decoder = params['decoder']['layers']
    for name, ours in {
        'shared.weight': params['token_embedder']['embedding'],
        'decoder.block.1.layer.1.EncDecAttention.o.weight': decoder['cross_attention']['out'][
            'kernel'
        ][1].T,
        'decoder.block.1.layer.2.DenseReluDense.wi.weight': decoder['mlp']['wi']['kernel'][1].T,
        'decoder.block.0.layer.2.layer_norm.weight': decoder['mlp_norm']['scale'][0],
        'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight': params['encoder'][
            'relative_attention_bias'
        ]['embedding'],
        'encoder.final_layer_norm.weight': params['encoder']['final_norm']['scale'],
    }.items():
        np.testing.assert_array_equal(theirs[name], ours)
    assert 'lm_head.weight' not in theirs


def test_the_current_folder_may_be_written(tmp_path, params_of, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export.save_pretrained('.', SMALL, params_of(SMALL))
    assert (tmp_path / 'model.safetensors').exists()


@pytest.mark.parametrize('tied', [True, False])
def test_padding_rows_are_left_out(tmp_path, tied, params_of):
    padded = SMALL.replace(vocab_padding=20, tie_word_embeddings=tied)
    export.save_pretrained(tmp_path / 'm', padded, params_of(padded))
    theirs = load_file(tmp_path / 'm' / 'model.safetensors')
    assert theirs['shared.weight'].shape == (300, 8)
    assert tied or theirs['lm_head.weight'].shape == (300, 8)


def test_shards_hold_no_more_than_asked(tmp_path, params_of):
    export.save_pretrained(tmp_path / 'm', SMALL, params_of(SMALL), shard_gb=3e-6)
    shards = sorted((tmp_path / 'm').glob('model-*-of-*.safetensors'))
    sizes = [{n: a.nbytes for n, a in load_file(p).items()} for p in shards]
    assert all(sum(s.values()) <= 3000 or len(s) == 1 for s in sizes)
    assert len(shards) > 4


def test_others_may_read_the_weights(tmp_path, params_of):
    export.save_pretrained(tmp_path / 'm', SMALL, params_of(SMALL))
    files = tmp_path / 'm' / 'config.json', tmp_path / 'm' / 'model.safetensors'
    assert len({path.stat().st_mode for path in files}) == 1


def test_a_tree_of_another_shape_is_refused_by_name(tmp_path, params_of):
    params = params_of(SMALL.replace(num_layers=3))
    with pytest.raises(UserError, match=r'encoder/layers/.* must have shape \(2,.*got \(3,'):
        export.save_pretrained(tmp_path / 'm', SMALL, params)
    del params['decoder']['final_norm']
    with pytest.raises(UserError, match=r'decoder/final_norm/scale .*got None'):
        export.save_pretrained(tmp_path / 'm', SMALL.replace(num_layers=3), params)
    assert not list(tmp_path.iterdir())


def test_a_vocabulary_of_another_model_is_refused(tmp_path, tiny_spiece, params_of):
    small = SMALL.replace(vocab_size=100)
    with pytest.raises(UserError, match=r'vocabulary needs \d+ rows.*vocab_size=100'):
        export.save_pretrained(tmp_path / 'm', small, params_of(small), Vocabulary(tiny_spiece))


def test_what_fails_half_way_leaves_nothing(tmp_path, tiny_spiece, monkeypatch, params_of):
    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr(tokenizer, 'write', fail)
    with pytest.raises(OSError, match='disk full'):
        export.save_pretrained(tmp_path / 'm', SMALL, params_of(SMALL), Vocabulary(tiny_spiece))
    assert not list(tmp_path.iterdir())


def test_an_export_over_another_leaves_no_stale_shards(tmp_path, params_of):
    export.save_pretrained(tmp_path / 'm', SMALL, params_of(SMALL), shard_gb=3e-6)
    (tmp_path / 'm' / 'notes.txt').write_text('mine')
    export.save_pretrained(tmp_path / 'm', SMALL, params_of(SMALL), card='# card')
    assert {p.name for p in (tmp_path / 'm').iterdir()} == {
        'README.md',
        'config.json',
        'generation_config.json',
        'model.safetensors',
        'notes.txt',
    }


@pytest.mark.parametrize('options', [{}, {'newline_token': False}, {'nl_space': 'released'}])
def test_tokenizer_files_hold_the_whole_vocabulary(tmp_path, tiny_spiece, options):
    vocabulary = Vocabulary(tiny_spiece, extra_ids=10, **options)
    tokenizer.write(tmp_path, vocabulary)
    assert tokenizer.read(tmp_path).sha256 == vocabulary.sha256
    added = tokenizer.read(tmp_path, newline_token=True)
    assert added.newline_id == vocabulary.piece_size + 10


def test_a_newline_token_elsewhere_is_refused(tmp_path, tiny_spiece):
    tokenizer.write(tmp_path, Vocabulary(tiny_spiece, newline_token=False))
    (tmp_path / 'added_tokens.json').write_text('{"[NL]": 5}')
    with pytest.raises(UserError, match=r'\[NL\] is id 5'):
        tokenizer.read(tmp_path)

"""Loading: what does not fit is refused by name. Files are made with safetensors' own writer."""

import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fsa_jax.configs import T5Config
from fsa_jax.errors import UserError
from fsa_jax.hf.export import save_pretrained
from fsa_jax.hf.load import load_pretrained

SMALL = T5Config(
    vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=3, num_heads=2
)
V1_1 = SMALL.replace(feed_forward_proj='gated-gelu', tie_word_embeddings=False)
Q = 'encoder.block.1.layer.0.SelfAttention.q.weight'


@pytest.fixture
def folder(tmp_path, params_of):
    save_pretrained(tmp_path / 'v1.0', SMALL, params_of(SMALL))
    return tmp_path / 'v1.0'


@pytest.fixture
def untied_folder(tmp_path, params_of):
    save_pretrained(tmp_path / 'v1.1', V1_1, params_of(V1_1))
    return tmp_path / 'v1.1'


def edit_tensors(folder, change):
    tensors = load_file(folder / 'model.safetensors')
    change(tensors)
    save_file(tensors, folder / 'model.safetensors')


def edit_config(folder, **values):
    path = folder / 'config.json'
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize('config', [SMALL, V1_1], ids=['v1.0', 'v1.1'])
@pytest.mark.parametrize('shard_gb', [5.0, 2e-6], ids=['single', 'sharded'])
def test_round_trip_is_bit_exact(tmp_path, params_of, config, shard_gb):
    params = params_of(config)
    save_pretrained(tmp_path / 'm', config, params, shard_gb=shard_gb)
    shards = len(list((tmp_path / 'm').glob('*.safetensors')))
    assert (shards == 1) if shard_gb == 5.0 else (shards > 3)
    loaded_config, loaded = load_pretrained(tmp_path / 'm')
    assert loaded_config == config
    assert_equal(loaded, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {np.dtype('float32')}


@pytest.mark.parametrize('dtype', [ml_dtypes.bfloat16, np.float16, np.float64])
def test_other_floats_become_float32(folder, dtype):
    edit_tensors(folder, lambda t: t.update({n: a.astype(dtype) for n, a in t.items()}))
    _, params = load_pretrained(folder)
    expected = load_file(folder / 'model.safetensors')[Q].astype(np.float32)
    kernel = params['encoder']['layers']['self_attention']['query']['kernel']
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel[1], expected.T)


def test_all_names_of_the_one_table_are_read(folder):
    _, expected = load_pretrained(folder)

    def alias(tensors):
        tensors['decoder.embed_tokens.weight'] = tensors.pop('shared.weight')
        tensors['lm_head.weight'] = tensors['decoder.embed_tokens.weight']
        unused = 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight'
        tensors[unused] = np.zeros((32, 2), np.float32)  # google-t5's files hold it

    edit_tensors(folder, alias)
    assert_equal(load_pretrained(folder)[1], expected)


def test_configs_as_transformers_5_writes_them(untied_folder):
    folder = untied_folder
    _, expected = load_pretrained(folder)
    edit_config(folder, tie_word_embeddings=True, scale_decoder_outputs=False)
    config, params = load_pretrained(folder)
    assert config == V1_1
    assert_equal(params, expected)


def test_a_v1_1_head_that_is_the_shared_table(untied_folder):
    """As transformers 5 writes a model that it made itself: one table, and inputs that are not scaled."""
    edit_tensors(untied_folder, lambda tensors: tensors.pop('lm_head.weight'))
    edit_config(untied_folder, tie_word_embeddings=True, scale_decoder_outputs=False)
    config, params = load_pretrained(untied_folder)
    assert config == V1_1
    table = params['token_embedder']['embedding']
    np.testing.assert_array_equal(params['lm_head']['embedding'], table)


def test_an_untied_head_that_is_scaled_carries_the_factor(untied_folder):
    folder = untied_folder
    _, plain = load_pretrained(folder)
    edit_config(folder, tie_word_embeddings=False, scale_decoder_outputs=True)
    config, params = load_pretrained(folder)
    assert not config.tie_word_embeddings
    scaled = plain['lm_head']['embedding'] / np.sqrt(np.float32(8))
    np.testing.assert_allclose(params['lm_head']['embedding'], scaled, rtol=1e-6)


def test_defaults_of_absent_fields(folder):
    edit_config(folder, tie_word_embeddings=None, decoder_start_token_id=None, eos_token_id=[1])
    assert load_pretrained(folder)[0] == SMALL
    edit_config(folder, num_decoder_layers=None)
    with pytest.raises(UserError, match=r"unexpected tensor 'decoder\.block\.2"):
        load_pretrained(folder)  # as many as encoder layers, which the file then does not fit


TENSOR_FAULTS = {
    'missing': (lambda t: t.pop(Q), rf"lacks tensor '{Q}', of shape \[8, 8\]"),
    'no table': (lambda t: t.pop('shared.weight'), "lacks tensor 'shared.weight'"),
    'shape': (lambda t: t.update({Q: t[Q][:4]}), rf"'{Q}' must have shape \[8, 8\].*got \[4, 8\]"),
    'integers': (lambda t: t.update({Q: t[Q].astype(np.int32)}), rf"'{Q}' must be one of F64"),
    'more': (lambda t: t.update({'extra.weight': t[Q]}), "unexpected tensor 'extra.weight'"),
    'rows': (
        lambda t: t.update({'shared.weight': t['shared.weight'][:39].copy()}),
        r"'shared.weight' must have shape \[40, 8\] by config.json; got \[39, 8\]",
    ),
    'tied head differs': (
        lambda t: t.update({'lm_head.weight': t['shared.weight'] + 1}),
        "'lm_head.weight' differs from 'shared.weight'; config.json ties them",
    ),
    'tables differ': (
        lambda t: t.update({'encoder.embed_tokens.weight': t['shared.weight'] + 1}),
        "'encoder.embed_tokens.weight' differs from 'shared.weight'; T5 has one table",
    ),
}


@pytest.mark.parametrize('fault', TENSOR_FAULTS)
def test_a_tensor_that_does_not_fit_is_named(folder, fault):
    change, message = TENSOR_FAULTS[fault]
    edit_tensors(folder, change)
    with pytest.raises(UserError, match=message):
        load_pretrained(folder)


def test_untied_without_a_head_is_named(folder):
    edit_config(folder, tie_word_embeddings=False)
    with pytest.raises(UserError, match=r"lacks tensor 'lm_head\.weight'"):
        load_pretrained(folder)


@pytest.mark.parametrize(
    ('keep', 'message'),
    [
        (lambda size: size - 4, r"cut short, at tensor '(shared|encoder|decoder)\..*weight'"),
        (lambda size: 100, 'inside its header'),
        (lambda size: 3, 'inside its header'),
    ],
)
def test_a_truncated_file_is_told(folder, keep, message):
    path = folder / 'model.safetensors'
    content = path.read_bytes()
    path.write_bytes(content[: keep(len(content))])
    with pytest.raises(UserError, match=rf'model\.safetensors is damaged: .*{message}'):
        load_pretrained(folder)


def test_shards_that_are_missing_or_incomplete(tmp_path, params_of):
    save_pretrained(tmp_path / 'm', SMALL, params_of(SMALL), shard_gb=2e-6)
    first = min((tmp_path / 'm').glob('*.safetensors'))
    tensors = load_file(first)
    name, _ = tensors.popitem()
    save_file(tensors, first)
    with pytest.raises(UserError, match=rf"{first.name} lacks tensor '{name}', which .*index"):
        load_pretrained(tmp_path / 'm')
    first.unlink()
    with pytest.raises(UserError, match=rf'{first.name} is missing'):
        load_pretrained(tmp_path / 'm')


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'model_type': 'bert'}, "model_type must be 't5'; got 'bert'"),
        ({'d_kv': None}, "lacks 'd_kv'"),
        ({'feed_forward_proj': 'gated-silu'}, "feed_forward_proj must be one of .*'gated-silu'"),
        ({'d_model': '8'}, 'd_model must be int'),
        ({'decoder_start_token_id': 7}, 'T5Config.decoder_start_token_id must be 0, .*got 7'),
        ({'eos_token_id': [2, 1]}, 'T5Config.eos_token_id must be 1, .*got 2'),
    ],
)
def test_configs_that_are_no_t5(folder, values, message):
    edit_config(folder, **values)
    with pytest.raises(UserError, match=rf'config\.json.*{message}'):
        load_pretrained(folder)


def test_folders_of_other_formats(tmp_path, folder):
    with pytest.raises(UserError, match='is not a folder'):
        load_pretrained(tmp_path / 'nowhere')
    with pytest.raises(UserError, match=r'has no config\.json'):
        load_pretrained(tmp_path)
    (tmp_path / 't5x').mkdir()
    (tmp_path / 't5x' / 'checkpoint').write_bytes(b'')
    with pytest.raises(UserError, match='t5x checkpoint, which is not read; convert'):
        load_pretrained(tmp_path / 't5x')
    (folder / 'model.safetensors').unlink()
    with pytest.raises(UserError, match=r'neither model\.safetensors nor'):
        load_pretrained(folder)
    (folder / 'pytorch_model.bin').write_bytes(b'\x80\x02')
    with pytest.raises(UserError, match=r'pytorch_model\.bin.*pickle.*save_pretrained'):
        load_pretrained(folder)
    (folder / 'config.json').write_text('{"model_type": ')
    with pytest.raises(UserError, match='is not JSON'):
        load_pretrained(folder)

"""Logits and gradients against transformers' torch T5: v1.0 and v1.1, padding, odd lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from fsa_jax import gin_registry
from fsa_jax.configs import T5Config
from fsa_jax.hf.names import from_hf, to_hf
from fsa_jax.model.relative_bias import bucket
from fsa_jax.model.t5 import T5, init_params

SHAPE = {'d_model': 32, 'd_kv': 8, 'd_ff': 48, 'num_layers': 2, 'num_decoder_layers': 3}


def both(feed_forward: str, vocab_size: int):
    """The torch model with weights that leave no part idle, our config, and our parameters."""
    tied = feed_forward == 'relu'
    theirs = transformers.T5Config(
        vocab_size=vocab_size,
        num_heads=4,
        feed_forward_proj=feed_forward,
        tie_word_embeddings=tied,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        **SHAPE,
    )
    theirs.tie_word_embeddings = tied
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(theirs)
    model.set_input_embeddings(model.shared)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if 'layer_norm' in name:
                weight.add_(0.3 * torch.randn_like(weight))
            if 'relative_attention_bias' in name:
                weight.mul_(5)
    ours = T5Config(
        vocab_size=vocab_size,
        num_heads=4,
        feed_forward_proj=feed_forward,
        tie_word_embeddings=tied,
        **SHAPE,
    )
    state = model.state_dict()
    return model, ours, from_hf(ours, lambda tensor: state[tensor.name].numpy())


def relative_error(ours, theirs) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize('vocab_size', [101, 32101])
@pytest.mark.parametrize('feed_forward', ['relu', 'gated-gelu'])
def test_logits_and_gradients(feed_forward, vocab_size):
    model, config, params = both(feed_forward, vocab_size)
    rng = np.random.default_rng(0)
    source = rng.integers(2, vocab_size, (3, 37))
    source[1, 20:] = source[2, 1:] = 0
    target = rng.integers(2, vocab_size, (3, 151))  # longer than the last bucket's distance
    target[:, 0] = 0
    goal = rng.standard_normal((3, 151, vocab_size)).astype(np.float32)

    their_logits = model(
        input_ids=torch.tensor(source),
        attention_mask=torch.tensor(source != 0).long(),
        decoder_input_ids=torch.tensor(target),
    ).logits
    (their_logits * torch.tensor(goal)).mean().backward()
    their_gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}

    @jax.jit
    def ours(params):
        def loss(params):
            inputs = {'encoder_input_tokens': source, 'decoder_input_tokens': target}
            logits = T5(config).apply({'params': params}, **inputs)
            return jnp.mean(logits * goal), logits

        (_, logits), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return logits, gradients

    logits, gradients = ours(params)
    assert logits.shape == (3, 151, vocab_size)
    assert relative_error(logits, their_logits.detach().numpy()) <= 2e-5
    errors = {
        tensor.name: relative_error(ours, their_gradients.pop(tensor.name))
        for tensor, ours in to_hf(config, gradients)
    }
    assert not their_gradients, 'every torch parameter has its gradient here'
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= 1e-4, worst


@pytest.mark.parametrize('bidirectional', [True, False])
@pytest.mark.parametrize(('num_buckets', 'max_distance'), [(32, 128), (8, 20), (16, 1000)])
def test_buckets(bidirectional, num_buckets, max_distance):
    attention = transformers.models.t5.modeling_t5.T5Attention
    positions = np.arange(-1500, 1501)
    theirs = attention._relative_position_bucket(
        torch.tensor(positions), bidirectional, num_buckets, max_distance
    )
    ours = bucket(
        jnp.asarray(positions),
        bidirectional=bidirectional,
        num_buckets=num_buckets,
        max_distance=max_distance,
    )
    np.testing.assert_array_equal(ours, theirs.numpy())


@pytest.mark.parametrize('feed_forward', ['relu', 'gated-gelu'])
def test_initial_scales(feed_forward):
    """Each tensor's initial standard deviation is that of transformers' (64 wide: 5 % of noise)."""
    shape = {'vocab_size': 999, 'd_model': 64, 'd_kv': 16, 'd_ff': 256, 'num_heads': 8}
    shape |= {'num_layers': 2, 'num_decoder_layers': 3, 'feed_forward_proj': feed_forward}
    config = T5Config(**shape, tie_word_embeddings=feed_forward == 'relu')
    theirs = transformers.T5Config(**shape)
    theirs.tie_word_embeddings = config.tie_word_embeddings
    torch.manual_seed(1)
    model = transformers.T5ForConditionalGeneration(theirs)
    state = model.state_dict()
    for tensor, ours in to_hf(config, init_params(config, jax.random.key(1))):
        expected = state[tensor.name].numpy()
        assert abs(ours.mean() - expected.mean()) <= 0.25 * expected.std()
        tolerance = 0.2 if 'bias' in tensor.name else 0.06
        assert ours.std() == pytest.approx(expected.std(), rel=tolerance), tensor.name


MODELS = [
    *[f'v1_0_{size}' for size in ('small', 'base', 'large', '3b', '11b')],
    *[f'v1_1_{size}' for size in ('small', 'base', 'large', 'xl', 'xxl')],
    'tiny',
]


@pytest.mark.parametrize('name', MODELS)
def test_parameter_counts_of_the_model_files(name):
    folders = gin_registry.default_search_paths()
    (config,) = gin_registry.build([T5Config], [f'model/{name}.gin'], folders)
    assert isinstance(config, T5Config)
    theirs = transformers.T5Config(
        vocab_size=config.vocab_size,
        d_model=config.d_model,
        d_kv=config.d_kv,
        d_ff=config.d_ff,
        num_layers=config.num_layers,
        num_decoder_layers=config.num_decoder_layers,
        num_heads=config.num_heads,
        feed_forward_proj=config.feed_forward_proj,
    )
    theirs.tie_word_embeddings = config.tie_word_embeddings
    with torch.device('meta'):
        model = transformers.T5ForConditionalGeneration(theirs)
    model.set_input_embeddings(model.shared)
    if config.tie_word_embeddings:
        model.lm_head.weight = model.shared.weight
    expected = sum(p.numel() for p in model.parameters())
    abstract = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    assert sum(x.size for x in jax.tree.leaves(abstract)) == expected

"""The map covers the model, both ways."""

from functools import partial

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from fsa_jax.configs import T5Config
from fsa_jax.hf import names
from fsa_jax.model.t5 import init_params

SMALL = T5Config(
    vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=3, num_heads=3
)
V1_1 = SMALL.replace(feed_forward_proj='gated-gelu', tie_word_embeddings=False, vocab_padding=8)


@pytest.mark.parametrize('config', [SMALL, V1_1], ids=['v1.0', 'v1.1'])
def test_the_map_holds_every_parameter_of_the_model(config):
    model = jax.eval_shape(partial(init_params, config), jax.random.key(0))
    assert names.shapes(config) == {p: leaf.shape for p, leaf in flatten_dict(model).items()}


@pytest.mark.parametrize('config', [SMALL, V1_1], ids=['v1.0', 'v1.1'])
def test_there_and_back(config, params_of):
    params = params_of(config)
    theirs = {tensor.name: array for tensor, array in names.to_hf(config, params)}
    assert all(theirs[t.name].shape == t.shape for t in names.tensors(config))
    back = names.from_hf(config, lambda tensor: theirs[tensor.name])
    for path, leaf in flatten_dict(back).items():
        expected = flatten_dict(params)[path]
        if path[-1] == 'embedding' and path[0] in ('token_embedder', 'lm_head'):
            np.testing.assert_array_equal(leaf[config.vocab_size :], 0)
            leaf, expected = leaf[: config.vocab_size], expected[: config.vocab_size]
        np.testing.assert_array_equal(leaf, expected)

"""The chunked loss against optax's losses on whole logits, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsa_jax import losses
from fsa_jax.losses import Objective

B, T, D, V = 3, 11, 8, 50


def head(params, hidden):
    return hidden @ params['table'].T


def problem():
    keys = jax.random.split(jax.random.key(0), 4)
    params = {'table': jax.random.normal(keys[0], (V, D))}
    hidden = jax.random.normal(keys[1], (B, T, D))
    targets = jax.random.randint(keys[2], (B, T), 0, V)
    weights = jax.random.uniform(keys[3], (B, T)) * (jnp.arange(T) < 8)
    return params, hidden, targets, weights


def whole(params, hidden, targets, weights, smoothing, z_loss):
    """The same by optax, with the logits of all tokens at once."""
    logits = head(params, hidden)
    labels = optax.smooth_labels(jax.nn.one_hot(targets, V), smoothing)
    loss = optax.softmax_cross_entropy(logits, labels)
    loss += z_loss * jnp.square(jax.nn.logsumexp(logits, axis=-1))
    return jnp.sum(loss * weights)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6), a, b)


@pytest.mark.parametrize('chunk_tokens', [1, 6, 12, 10_000])
@pytest.mark.parametrize(('smoothing', 'z_loss'), [(0.0, 0.0), (0.1, 0.0), (0.1, 1e-2)])
def test_value_and_gradient_are_those_of_optax(chunk_tokens, smoothing, z_loss):
    params, hidden, targets, weights = problem()

    def chunked(params, hidden):
        objective = Objective(V, smoothing, z_loss)
        total, _ = losses.chunked_loss(
            head, params, hidden, targets, weights, objective, chunk_tokens
        )
        return 3.0 * total  # a cotangent other than 1

    def expected(params, hidden):
        return 3.0 * whole(params, hidden, targets, weights, smoothing, z_loss)

    ours = jax.jit(jax.value_and_grad(chunked, argnums=(0, 1)))(params, hidden)
    theirs = jax.value_and_grad(expected, argnums=(0, 1))(params, hidden)
    assert_close(ours, theirs)
    assert_close(chunked(params, hidden), theirs[0])  # not differentiated: another path


@pytest.mark.parametrize('differentiated', [False, True])
def test_cross_entropy_of_each_token_has_no_smoothing_and_no_z_loss(differentiated):
    params, hidden, targets, weights = problem()

    def chunked(hidden):
        return losses.chunked_loss(head, params, hidden, targets, weights, Objective(V, 0.1, 1.0))

    if differentiated:
        (_, ours), _ = jax.value_and_grad(chunked, has_aux=True)(hidden)
    else:
        _, ours = chunked(hidden)
    theirs = optax.softmax_cross_entropy_with_integer_labels(head(params, hidden), targets)
    assert_close(ours, theirs)


def test_padding_columns_of_the_vocabulary_change_nothing():
    params, hidden, targets, weights = problem()

    def padded_head(params, hidden):
        return jnp.pad(head(params, hidden), ((0, 0), (0, 0), (0, 6)), constant_values=-1e9)

    for function in (head, padded_head):
        total, _ = losses.chunked_loss(
            function, params, hidden, targets, weights, Objective(V, 0.1, 1e-2)
        )
        assert_close(total, whole(params, hidden, targets, weights, 0.1, 1e-2))


def test_pieces_without_a_weighted_token_are_skipped():
    """NaN in the hidden states of padding reaches neither the loss nor a gradient."""
    params, hidden, targets, weights = problem()
    hidden = hidden.at[:, 8:].set(jnp.nan)  # weights are zero from 8 on

    def chunked(params, hidden):
        return losses.chunked_loss(head, params, hidden, targets, weights, Objective(V), 4 * B)[0]

    loss, gradients = jax.jit(jax.value_and_grad(chunked, argnums=(0, 1)))(params, hidden)
    clean = chunked(params, jnp.nan_to_num(hidden))
    assert loss == clean
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_the_logits_of_all_tokens_never_exist():
    """The compiled gradient holds less than one float32 [B, T, V]."""
    tokens, vocabulary = 4096, 2000
    params = {'table': jnp.zeros((vocabulary, D))}

    def loss(chunk_tokens, params, hidden):
        ids = jnp.zeros((1, tokens), jnp.int32)
        weights = jnp.ones((1, tokens))
        objective = Objective(vocabulary)
        return losses.chunked_loss(head, params, hidden, ids, weights, objective, chunk_tokens)[0]

    def temporaries(chunk_tokens):
        step = jax.jit(jax.grad(lambda p, h: loss(chunk_tokens, p, h), argnums=(0, 1)))
        compiled = step.lower(params, jnp.zeros((1, tokens, D))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    whole_logits = 4 * tokens * vocabulary
    assert temporaries(tokens) > whole_logits
    assert temporaries(tokens // 16) < whole_logits / 4

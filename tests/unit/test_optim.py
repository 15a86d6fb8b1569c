"""Schedules against their closed forms in float64, AdamWScale against the published oracle."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsa_jax import optim
from fsa_jax.configs import OptimizerConfig
from fsa_jax.errors import UserError

T = 200_000
STEPS = [0, 1, 2, 3, 9, 999, 1000, 1001, 77_777, T // 2, T - 1000, T - 1, T]


def cosine(t, peak, length, floor=1e-5):
    return floor + (peak - floor) * (1 + math.cos(math.pi * t / length)) / 2


CLOSED_FORMS = {
    'released': lambda t: 1.5e-3 if t == 0 else cosine(t - 1, 1.5e-3, T),
    'written': lambda t: cosine(t, 3e-3, T),
    'linear': lambda t: 3e-3 * (T - t) / T,
    'cosine': lambda t: cosine(t, 3e-3, T),
    'constant': lambda t: 3e-3,
}


@pytest.mark.parametrize('name', CLOSED_FORMS)
def test_schedule_is_its_closed_form(name):
    rate = optim.schedule(name, 3e-3, T)
    for t in STEPS:
        for value in (rate(t), jax.jit(rate)(jnp.int32(t))):
            assert abs(float(value) - CLOSED_FORMS[name](t)) <= 1e-6 * 3e-3


@pytest.mark.parametrize('name', CLOSED_FORMS)
def test_the_rate_of_an_int_needs_no_device(name):
    """It is asked for while a step is under way: on the device it would queue behind that."""
    value = optim.schedule(name, 3e-3, T)(7)
    assert isinstance(value, np.ndarray | np.generic)
    assert value.dtype == np.float32


@pytest.mark.parametrize('name', ['linear', 'cosine', 'constant'])
def test_warmup_rises_linearly_then_meets_the_peak(name):
    rate = optim.schedule(name, 3e-3, T, warmup=1000)
    for t in (0, 1, 500, 999):
        assert abs(float(rate(t)) - 3e-3 * t / 1000) <= 1e-6 * 3e-3
    assert float(rate(1000)) == pytest.approx(3e-3, rel=1e-6)
    ends = {'linear': 0.0, 'cosine': 1e-5, 'constant': 3e-3}
    assert float(rate(T)) == pytest.approx(ends[name], abs=1e-6 * 3e-3)


def test_beyond_the_last_step_the_rate_stays():
    assert float(optim.schedule('linear', 1.0, 10)(25)) == 0.0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'name': 'released', 'peak': 1e-3, 'steps': 9, 'warmup': 3}, 'OptimizerConfig.warmup=0'),
        ({'name': 'cosine', 'peak': 1e-6, 'steps': 9}, 'OptimizerConfig.floor=1e-05'),
        ({'name': 'linear', 'peak': 1e-3, 'steps': 9, 'warmup': 9}, 'must be below the 9'),
    ],
)
def test_impossible_schedules_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        optim.schedule(**arguments)


def run(transformation, params, gradients):
    """Parameters after each step."""
    state, update = transformation.init(params), jax.jit(transformation.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        yield params


@pytest.mark.data
@pytest.mark.parametrize('weight_decay', [0.0, 0.01])
def test_adamw_scale_agrees_with_the_published_one(shared, weight_decay):
    oracle = np.load(shared / 'oracle/adamw_scale.npz')
    names = [key[3:] for key in oracle if key.startswith('p0/')]
    params = {n: jnp.asarray(oracle[f'p0/{n}']) for n in names}
    gradients = [{n: oracle[f'g{t}/{n}'] for n in names} for t in range(6)]
    ours = run(optim.adamw_scale(3e-3, weight_decay=weight_decay), params, gradients)
    for t, after in enumerate(ours, 1):
        for n in names:
            expected = oracle[f'wd{weight_decay}/p{t}/{n}']
            error = np.abs(after[n] - expected).max() / np.abs(expected).max()
            assert error < 1e-6, (n, t)


def random_matrices(count, key=0):
    """Matrices [count, 6, 4] of very different scale: layer i is 10^(i-2)."""
    scales = 10.0 ** (jnp.arange(count) - 2)
    return jax.random.normal(jax.random.key(key), (count, 6, 4)) * scales[:, None, None]


def test_rms_is_taken_per_layer_of_stacked_parameters():
    weights, gradients = random_matrices(3), [random_matrices(3, key) for key in (1, 2)]
    stacked = run(
        optim.adamw_scale(3e-3, weight_decay=0.01),
        {'layers': {'wi': weights}},
        [{'layers': {'wi': g}} for g in gradients],
    )
    separate = run(
        optim.adamw_scale(3e-3, weight_decay=0.01),
        {str(i): weights[i] for i in range(3)},
        [{str(i): g[i] for i in range(3)} for g in gradients],
    )
    for a, b in zip(stacked, separate):
        np.testing.assert_allclose(
            a['layers']['wi'], np.stack([b[str(i)] for i in range(3)]), rtol=1e-6
        )


def test_adafactor_is_that_of_optax_on_each_layer():
    """Layers large enough to be factored, of very different scale, the first below the least RMS;
    in the second step only one layer has a gradient that is clipped."""
    scales = jnp.array([1e-4, 0.1, 0.5])[:, None, None]
    surge = jnp.array([1.0, 30.0, 1.0])[:, None, None]

    def draw(key, factor):
        normal, key = jax.random.normal, jax.random.key(key)
        layers = {'wi': factor * normal(key, (3, 128, 160)), 'scale': normal(key, (3, 130))}
        return {'layers': layers, 'table': normal(key, (140, 128))}

    def separate(tree):
        layers = {f'{n}{i}': x[i] for n, x in tree['layers'].items() for i in range(3)}
        return {**layers, 'table': tree['table']}

    params, rate = draw(0, scales), optim.schedule('linear', 1e-2, 10)
    gradients = [draw(1, 1.0), draw(2, surge), draw(3, 1.0)]
    ours = run(optim.adafactor(rate), params, gradients)
    theirs = run(optax.adafactor(rate), separate(params), map(separate, gradients))
    for a, b in zip(map(separate, ours), theirs, strict=True):
        for n in b:
            assert np.abs(a[n] - b[n]).max() < 1e-6 * np.abs(b[n]).max(), n


def test_the_state_of_adafactor_is_that_of_optax():
    """A checkpoint of optax's is one of ours."""
    params = {'layers': {'wi': jnp.ones((2, 128, 128))}}
    ours, theirs = (f(lambda step: 1e-3).init(params) for f in (optim.adafactor, optax.adafactor))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)


def test_padding_rows_of_a_table_stay_zero_and_outside_the_rms():
    table, gradient = random_matrices(1)[0] * 50, random_matrices(1, 1)[0]

    def pad(x):
        return jnp.pad(x, ((0, 5), (0, 0)))

    plain = run(optim.adamw_scale(3e-3), {'table': table}, [{'table': gradient}])
    padded = run(
        optim.adamw_scale(3e-3, padded_rows=lambda path: 5 if path == ('table',) else 0),
        {'table': pad(table)},
        [{'table': pad(gradient)}],
    )
    np.testing.assert_allclose(next(padded)['table'], pad(next(plain)['table']), rtol=1e-6)


def test_clip_limits_the_global_norm():
    """eps = 1 makes AdamW's step depend on the size of the gradient."""
    gradient = {'a': jnp.full((1,), 30.0), 'b': jnp.full((1,), 40.0)}  # norm 50
    clipped = {'a': jnp.full((1,), 0.6), 'b': jnp.full((1,), 0.8)}  # norm 1
    params = jax.tree.map(jnp.zeros_like, gradient)
    config = OptimizerConfig(eps=1.0, clip=1.0)
    with_clip = optim.optimizer(config, lambda step: 1e-3)
    without = optim.optimizer(config.replace(clip=0.0), lambda step: 1e-3)
    expected = next(run(without, params, [clipped]))
    for a, b in zip(next(run(with_clip, params, [gradient])).values(), expected.values()):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize('name', ['adamw', 'adamw_scale', 'adafactor'])
def test_weight_decay_is_decoupled_and_on_every_parameter(name):
    """With zero gradients a step multiplies all parameters by 1 - lr * weight_decay."""
    params = {'layers': {'scale': jnp.ones((2, 3))}, 'embedding': jnp.full((5, 3), 2.0)}
    config = OptimizerConfig(name=name, weight_decay=0.1)
    zeros = jax.tree.map(jnp.zeros_like, params)
    after = next(run(optim.optimizer(config, lambda step: 0.5), params, [zeros]))
    jax.tree.map(lambda a, p: np.testing.assert_allclose(a, 0.95 * p, rtol=1e-6), after, params)

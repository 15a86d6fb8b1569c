"""The optimizers against torch."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsa_jax import optim
from fsa_jax.configs import OptimizerConfig

torch = pytest.importorskip('torch')


def test_fine_tuning_optimizer_agrees_with_torch():
    """AdamW, linear decay and clipping over a whole run, against torch's own of all three."""
    random, steps = np.random.default_rng(0), 30
    start = random.normal(size=(7, 5)).astype(np.float32)
    gradients = random.normal(size=(steps, 7, 5)).astype(np.float32)
    config = OptimizerConfig(learning_rate=3e-2, weight_decay=0.01)

    theirs = torch.nn.Parameter(torch.tensor(start))
    adamw = torch.optim.AdamW([theirs], lr=3e-2, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01)
    decay = torch.optim.lr_scheduler.LambdaLR(adamw, lambda t: (steps - t) / steps)
    rate = optim.schedule(config.schedule, config.learning_rate, steps)
    transformation = optim.optimizer(config, rate)
    ours = jnp.asarray(start)
    state = transformation.init(ours)
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_([theirs], 1.0)
        adamw.step()
        decay.step()
        updates, state = transformation.update(gradient, state, ours)
        ours = optax.apply_updates(ours, updates)
        expected = theirs.detach().numpy()
        assert np.abs(ours - expected).max() / np.abs(expected).max() < 2e-6

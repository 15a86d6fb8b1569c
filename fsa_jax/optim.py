"""Optimizers and learning-rate schedules, as optax transformations."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float

from fsa_jax.configs import OptimizerConfig
from fsa_jax.errors import UserError

Path = tuple[str, ...]  # of a parameter: ('decoder', 'layers', 'mlp', 'wi', 'kernel')
_SMALLEST_RMS = 1e-3


def in_layers(path: Path) -> bool:
    """Whether a parameter stacks the matrices of all layers along its first axis."""
    return 'layers' in path


def no_padding(path: Path) -> int:
    """For models whose embedding tables have no padding rows."""
    return 0


def path_names(key_path) -> Path:
    """The names along a key path of jax.tree_util."""
    return tuple(str(getattr(key, 'key', getattr(key, 'name', key))) for key in key_path)


def rms(x: Float[Array, '...'], padded_rows: int = 0) -> Float[Array, '']:
    """Root mean square of a matrix; its last `padded_rows` rows are zero and not counted."""
    size = x.size - padded_rows * (x.size // x.shape[0]) if padded_rows else x.size
    return jnp.sqrt(jnp.sum(jnp.square(x)) / size)


def _rms_of_each(x: Float[Array, '...'], stacked: bool, padded_rows: int = 0) -> Array:
    """The RMS of a matrix, or [L, 1, …]: that of each of a stack; it multiplies as it is."""
    if not stacked:
        return rms(x, padded_rows)
    return jax.vmap(lambda matrix: rms(matrix, padded_rows))(x).reshape(-1, *[1] * (x.ndim - 1))


def adamw_scale(
    learning_rate: float | optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    stacked: Callable[[Path], bool] = in_layers,
    padded_rows: Callable[[Path], int] = no_padding,
) -> optax.GradientTransformation:
    """AdamW whose step is multiplied by max(1e-3, RMS(parameter)), as in the paper's script.

        s = lr sqrt(1 - b2^t) / (1 - b1^t)                   t = 1, 2, …
        p <- p - s max(1e-3, RMS(p)) m / (sqrt(v) + eps)     m, v not corrected
        p <- p - lr weight_decay p                           after the step, without the RMS

    The RMS is that of one published weight matrix: where `stacked(path)`, the first axis is layers
    and each layer has its own. `padded_rows(path)` trailing rows of a table count for nothing.
    (RMS scaling: Shazeer & Stern 2018, section 8; its AdamW form: nanoT5, Nawrot 2023.)
    """
    log_b1, log_b2 = (math.log(b) if b else -math.inf for b in (b1, b2))

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(
            count=jnp.zeros([], jnp.int32), mu=zeros, nu=jax.tree.map(jnp.zeros_like, params)
        )

    def scale(path: Path, p):
        return jnp.maximum(_SMALLEST_RMS, _rms_of_each(p, stacked(path), padded_rows(path)))

    def update(grads, state, params=None):
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        nu = optax.tree.update_moment(grads, state.nu, b2, 2)
        lr = learning_rate(state.count) if callable(learning_rate) else learning_rate
        # expm1: 1 - 0.999 in float32 is off by 6e-5 relative.
        step_size = lr * jnp.sqrt(-jnp.expm1(count * log_b2)) / -jnp.expm1(count * log_b1)

        def change(key_path, p, m, v):
            step = step_size * scale(path_names(key_path), p) * m / (jnp.sqrt(v) + eps)
            return -step - lr * weight_decay * (p - step)

        updates = jax.tree_util.tree_map_with_path(change, params, mu, nu)
        return updates, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def adafactor(
    learning_rate: optax.Schedule, stacked: Callable[[Path], bool] = in_layers
) -> optax.GradientTransformation:
    """optax.adafactor, whose chain and state this is, with each layer a parameter of its own.

        u <- g / sqrt(v)                             v factored: Shazeer & Stern 2018, algorithm 4
        p <- p - lr max(1e-3, RMS(p)) u / max(1, RMS(u))

    Where `stacked(path)`, both RMS are those of one layer; optax takes one over all of them. v is of
    one layer either way: optax factors the two largest axes, of 128 at least, and layers are fewer.
    """

    def clipped(key_path, u):
        return u / jnp.maximum(1.0, _rms_of_each(u, stacked(path_names(key_path))))

    def scaled(key_path, u, p):
        return u * jnp.maximum(_SMALLEST_RMS, _rms_of_each(p, stacked(path_names(key_path))))

    return optax.chain(
        optax.scale_by_factored_rms(),
        optax.stateless(lambda u, p: jax.tree_util.tree_map_with_path(clipped, u)),
        optax.scale_by_learning_rate(learning_rate, flip_sign=False),
        optax.stateless(lambda u, p: jax.tree_util.tree_map_with_path(scaled, u, p)),
        optax.scale(-1),
    )


def optimizer(
    config: OptimizerConfig,
    learning_rate: optax.Schedule,
    padded_rows: Callable[[Path], int] = no_padding,
) -> optax.GradientTransformation:
    """Clip by global norm, then the optimizer that `config` names. Weight decay is decoupled and
    on all parameters."""
    c = config
    moments: dict[str, Any] = {'b1': c.b1, 'b2': c.b2, 'eps': c.eps, 'weight_decay': c.weight_decay}
    if c.name == 'adamw':
        core = optax.adamw(learning_rate, **moments)
    elif c.name == 'adamw_scale':
        core = adamw_scale(learning_rate, **moments, padded_rows=padded_rows)
    else:
        decay = optax.add_decayed_weights(lambda step: -learning_rate(step) * c.weight_decay)
        core = optax.chain(adafactor(learning_rate), decay)
    return optax.chain(optax.clip_by_global_norm(c.clip), core) if c.clip else core


def schedule(
    name: str, peak: float, steps: int, *, floor: float = 1e-5, warmup: int = 0
) -> optax.Schedule:
    """step -> learning rate (float32) over T = `steps` steps; `peak` is the nominal value.

        released  peak / 2 at 0, then floor + (peak / 2 - floor) (1 + cos(pi (t - 1) / T)) / 2:
                  the paper's as it ran (a quirk of its PyTorch halved the peak and shifted t)
        written   floor + (peak - floor) (1 + cos(pi t / T)) / 2: as the paper's script reads
        linear    peak (T - t) / (T - warmup)
        cosine    floor + (peak - floor) (1 + cos(pi (t - warmup) / (T - warmup))) / 2
        constant  peak

    `warmup` steps rise linearly from 0 (linear, cosine, constant). Beyond T the last value stays.
    Of an int the rate is a number of numpy's: on the device it would wait for the steps queued there.
    """
    _check_schedule(name, peak, steps, floor, warmup)

    def rate(step):
        xp = jnp if isinstance(step, jax.Array) else np
        t = xp.minimum(step, steps).astype(xp.float32)

        def cosine(t, top, length):
            return floor + (top - floor) * 0.5 * (1 + xp.cos(xp.pi * t / length))

        if name == 'released':
            return xp.where(t < 1, peak / 2, cosine(t - 1, peak / 2, steps))
        if name == 'written':
            return cosine(t, peak, steps)
        after = t - warmup
        value = {
            'linear': lambda: peak * (1 - after / (steps - warmup)),
            'cosine': lambda: cosine(after, peak, steps - warmup),
            'constant': lambda: xp.full_like(t, peak),
        }[name]()
        return xp.where(t < warmup, peak * t / max(warmup, 1), value)

    return rate


def _check_schedule(name, peak, steps, floor, warmup) -> None:
    if name in ('released', 'written') and warmup:
        raise UserError(
            f'schedule {name!r} has no warm-up; set OptimizerConfig.warmup=0 (got {warmup}) or '
            "OptimizerConfig.schedule='cosine'"
        )
    top = peak / 2 if name == 'released' else peak
    if name in ('released', 'written', 'cosine') and floor > top:
        raise UserError(
            f'OptimizerConfig.floor={floor} lies above the peak of schedule {name!r}, {top}'
        )
    if warmup >= steps:
        raise UserError(f'OptimizerConfig.warmup={warmup} must be below the {steps} training steps')

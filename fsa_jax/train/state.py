"""What training carries from step to step: a pure tree, so that it may be donated, saved or vmapped."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Int

from fsa_jax.model.t5 import Params


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """`step` is how many updates the parameters have had. The dropout key is not here: it is
    fold_in(key(TrainConfig.seed), step)."""

    step: Int[Array, '']
    params: Params
    opt_state: Any

    @classmethod
    def create(cls, params: Params, optimizer: optax.GradientTransformation) -> 'TrainState':
        """The state before the first step."""
        return cls(jnp.zeros([], jnp.int32), params, optimizer.init(params))

"""What training carries from step to step: a pure tree, so that it may be donated, saved or vmapped."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int

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

    def items(self) -> dict[str, Any]:
        """What a checkpoint holds: the parameters that a user of the model wants, and the rest."""
        return {
            'params': self.params,
            'training': {'step': self.step, 'opt_state': self.opt_state},
        }

    @classmethod
    def of(cls, items: dict[str, Any]) -> 'TrainState':
        """The inverse of `items`."""
        return cls(params=items['params'], **items['training'])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GroupState:
    """Several seeds in one tree: all arrays but the step have a leading axis of seeds.

    `best` holds the parameters of each seed at the evaluation that was strictly better than all
    before it, `best_value` (higher is better) and `best_step` say how good and when.
    """

    current: TrainState
    best: Params
    best_value: Float[Array, 'seeds']
    best_step: Int[Array, 'seeds']

    @classmethod
    def create(cls, current: TrainState) -> 'GroupState':
        """The state before the first step: any evaluation is better than none."""
        leaves = jax.tree.leaves(current.params)
        return cls(
            current,
            jax.tree.map(jnp.copy, current.params),
            jnp.full(leaves[0].shape[0], -jnp.inf),
            jnp.zeros(leaves[0].shape[0], jnp.int32),
        )

    @property
    def step(self) -> Int[Array, '']:
        """How many updates each seed has had."""
        return self.current.step

    def offer(self, values: Float[Array, 'seeds']) -> 'GroupState':
        """The state after an evaluation of the current parameters; nan is never better."""
        better = values > self.best_value

        def choose(new, old):
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return dataclasses.replace(
            self,
            best=jax.tree.map(choose, self.current.params, self.best),
            best_value=choose(values, self.best_value),
            best_step=choose(jnp.broadcast_to(self.step, better.shape), self.best_step),
        )

    def items(self) -> dict[str, Any]:
        """What a checkpoint holds: the best parameters of each seed, and the rest."""
        training = self.current.items()['training']
        return {
            'params': self.best,
            'training': training
            | {
                'current': self.current.params,
                'best_value': self.best_value,
                'best_step': self.best_step,
            },
        }

    @classmethod
    def of(cls, items: dict[str, Any]) -> 'GroupState':
        """The inverse of `items`."""
        t = items['training']
        current = TrainState(t['step'], t['current'], t['opt_state'])
        return cls(current, items['params'], t['best_value'], t['best_step'])

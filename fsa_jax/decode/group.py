"""Greedy decoding by several models of one shape at once: the same inputs, a text from each."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from fsa_jax.configs import DecodeConfig, T5Config
from fsa_jax.decode.batches import longest_first, padded
from fsa_jax.decode.stepwise import likeliest
from fsa_jax.errors import UserError
from fsa_jax.model.decoding import Cache, decode_step, init_cache, start
from fsa_jax.model.t5 import Params
from fsa_jax.partition import SEED, Partition, spread

_LANE = 32  # columns of a batch of inputs are a multiple of it


class _State(NamedTuple):
    step: Int[Array, '']
    tokens: Int[Array, 'seeds N']
    ended: Bool[Array, 'seeds N']
    ids: Int[Array, 'seeds N T']
    cache: Cache  # with a leading axis of seeds


class GroupGenerator:
    """Decodes with params that have a leading axis of seeds; one compiled loop for all of them.

    A batch is done when the last seed is. Rows spread over the data axes of the partition.
    """

    def __init__(self, config: T5Config, decode: DecodeConfig, partition: Partition):
        """UserError where `decode` asks for another method than greedy."""
        if decode.method != 'greedy':
            raise UserError(
                f'seeds that train together are evaluated greedily; got DecodeConfig.method='
                f'{decode.method!r}; leave TrainConfig.seeds empty for another'
            )
        if decode.dtype != 'model':
            config = config.replace(dtype=decode.dtype)
        self.config, self.decode, self._partition = config, decode, partition
        self._run = jax.jit(
            self._decode, static_argnames='length', out_shardings=partition.replicated
        )

    def generate(
        self, params: Params, inputs: Sequence[Sequence[int]], length: int
    ) -> list[list[list[int]]]:
        """Ids of each input by each seed, [input][seed]: without the start id, cut before `</s>`."""
        shards = self._partition.data_shards
        size = -(-min(self.decode.batch_size, len(inputs)) // shards) * shards
        by_length = longest_first(inputs)
        outputs: list[list[list[int]]] = [[]] * len(inputs)
        for first in range(0, len(inputs), size):
            batch = by_length[first : first + size]
            columns = -(-len(inputs[batch[0]]) // _LANE) * _LANE
            tokens = padded([inputs[i] for i in batch], size, columns, self.config.pad_token_id)
            rows = self._partition.rows
            placed = [spread(x, rows) for x in (tokens, np.arange(size) < len(batch))]
            with self._partition.context():
                ids = np.asarray(self._run(params, *placed, length=length))
            for i, of_input in zip(batch.tolist(), np.moveaxis(ids, 0, 1).tolist()):
                outputs[i] = [self._until_end(of_seed) for of_seed in of_input]
        return outputs

    def _until_end(self, ids: list[int]) -> list[int]:
        end = self.config.eos_token_id
        return ids[: ids.index(end)] if end in ids else ids

    def _decode(
        self, params: Params, tokens: Int[Array, 'N S'], real: Bool[Array, 'N'], *, length: int
    ) -> Int[Array, 'seeds N T']:
        seeds, batch = jax.tree.leaves(params)[0].shape[0], len(tokens)
        fixed = _over_seeds(lambda p: start(self.config, p, tokens, length))(params)

        def unfinished(state: _State) -> Array:
            return (state.step < length) & ~state.ended.all()

        def advance(state: _State) -> _State:
            def step(of_seed, cache, ids):
                return decode_step(self.config, of_seed, cache, ids, state.step)

            logits, cache = _over_seeds(step)(fixed, state.cache, state.tokens)
            chosen = likeliest(logits)
            chosen = jnp.where(state.ended, self.config.pad_token_id, chosen)
            return _State(
                step=state.step + 1,
                tokens=chosen,
                ended=state.ended | (chosen == self.config.eos_token_id),
                ids=jax.lax.dynamic_update_slice_in_dim(
                    state.ids, chosen[..., None], state.step, 2
                ),
                cache=cache,
            )

        first = _State(
            step=jnp.int32(0),
            tokens=jnp.full((seeds, batch), self.config.decoder_start_token_id, jnp.int32),
            ended=jnp.broadcast_to(~real, (seeds, batch)),
            ids=jnp.full((seeds, batch, length), self.config.pad_token_id, jnp.int32),
            cache=jax.tree.map(
                lambda x: jnp.broadcast_to(x, (seeds, *x.shape)),
                init_cache(self.config, batch, length),
            ),
        )
        return jax.lax.while_loop(unfinished, advance, first).ids


def _over_seeds(function):
    return jax.vmap(function, spmd_axis_name=SEED)

"""Greedy decoding and sampling: one id for each sequence a step, in one compiled loop.

What is chosen is a function `choose(logits, step, memory) -> (ids, memory)`; `memory` is a pytree
that goes from step to step, `()` for those that need none. `forced` and `scored` wrap one in
another.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from fsa_jax.configs import T5Config
from fsa_jax.model.decoding import Cache, Fixed, decode_step, init_cache

Choose = Callable[[Float[Array, 'N V'], Int[Array, ''], Any], tuple[Int[Array, 'N'], Any]]


class _State(NamedTuple):
    step: Int[Array, '']
    tokens: Int[Array, 'N']  # the ids at `step`
    ended: Bool[Array, 'N']
    ids: Int[Array, 'N T']
    memory: Any  # of `choose`
    cache: Cache


def decode(
    config: T5Config,
    fixed: Fixed,
    real: Bool[Array, 'N'],
    length: int,
    choose: Choose,
    memory: Any = (),
) -> tuple[Int[Array, 'N T'], Any]:
    """Up to `length` ids a sequence, </s> included, padding after it; and the last memory.

    `choose(logits, step, memory)` picks the ids at `step`. The loop ends when every sequence
    has, or at `length`; rows that are not `real` only fill the batch and keep nobody waiting.
    """

    def unfinished(state: _State) -> Array:
        return (state.step < length) & ~state.ended.all()

    def advance(state: _State) -> _State:
        logits, cache = decode_step(config, fixed, state.cache, state.tokens, state.step)
        chosen, memory = choose(logits, state.step, state.memory)
        chosen = jnp.where(state.ended, config.pad_token_id, chosen)
        return _State(
            step=state.step + 1,
            tokens=chosen,
            ended=state.ended | (chosen == config.eos_token_id),
            ids=jax.lax.dynamic_update_slice_in_dim(state.ids, chosen[:, None], state.step, 1),
            memory=memory,
            cache=cache,
        )

    batch = real.shape[0]
    first = _State(
        step=jnp.int32(0),
        tokens=jnp.full(batch, config.decoder_start_token_id, jnp.int32),
        ended=~real,
        ids=jnp.full((batch, length), config.pad_token_id, jnp.int32),
        memory=memory,
        cache=init_cache(config, batch, length),
    )
    last = jax.lax.while_loop(unfinished, advance, first)
    return last.ids, last.memory


def greedy(logits: Float[Array, 'N V'], step: Int[Array, ''], memory: Any):
    """The likeliest id; of equals the smallest, as torch chooses."""
    return likeliest(logits), memory


def likeliest(logits: Float[Array, 'N V']) -> Int[Array, 'N']:
    """`jnp.argmax` of each row as two reductions that a CPU vectorises; in its own form XLA there
    compares pairs (value, id) one by one.

    Of a row that holds NaN the id is V - 1.
    """
    last = logits.shape[-1] - 1
    is_best = logits == jnp.max(logits, axis=-1, keepdims=True)
    return jnp.min(jnp.where(is_best, jnp.arange(last + 1, dtype=jnp.int32), last), axis=-1)


def sampler(
    rows: Int[Array, 'N'], seed: int, *, temperature: float, top_k: int, top_p: float
) -> Choose:
    """Draws from the filtered distribution, with a key made of (seed, row, step) alone.

    So a row's text does not depend on the batch it is decoded in.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), rows)

    def choose(logits: Float[Array, 'N V'], step: Int[Array, ''], memory: Any):
        kept = filter_logits(logits / temperature, top_k=top_k, top_p=top_p)
        now = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
        return jax.vmap(jax.random.categorical)(now, kept).astype(jnp.int32), memory

    return choose


def forced(choose: Choose, prefix: Int[Array, 'P'], barred: Int[Array, 'K']) -> Choose:
    """`choose` after the ids of `prefix`, which every text begins with.

    The first free id is none of `barred`.
    """
    length = prefix.shape[0]

    def chosen(logits: Float[Array, 'N V'], step: Int[Array, ''], memory: Any):
        free = jnp.where(step == length, logits.at[:, barred].set(-jnp.inf), logits)
        ids, memory = choose(free, step, memory)
        fixed = jnp.pad(prefix, (0, 1))[jnp.minimum(step, length)]
        return jnp.where(step < length, fixed, ids), memory

    return chosen


def scored(choose: Choose, memory: Any, batch: int, length: int) -> tuple[Choose, Any]:
    """`choose`, and a memory (its own, log-probabilities [batch, length] of the ids it chose).

    They are the model's: what `choose` filters or forbids does not raise the probability of the rest.
    """

    def choosing(logits: Float[Array, 'N V'], step: Int[Array, ''], memory: Any):
        inner, scores = memory
        ids, inner = choose(logits, step, inner)
        likely = jnp.take_along_axis(logits, ids[:, None], axis=1)
        likely -= jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        return ids, (inner, jax.lax.dynamic_update_slice_in_dim(scores, likely, step, 1))

    return choosing, (memory, jnp.zeros((batch, length), jnp.float32))


def filter_logits(
    logits: Float[Array, 'N V'], *, top_k: int = 0, top_p: float = 1.0
) -> Float[Array, 'N V']:
    """-inf for all but the `top_k` likeliest ids (0: all), then for all but the nucleus.

    The nucleus (Holtzman et al. 2020) is the smallest set of likeliest ids whose probability
    reaches `top_p`; it is never empty. Ids as likely as the last one kept are kept too.
    """
    if 0 < top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if top_p < 1.0:
        descending = jnp.sort(logits, axis=-1, descending=True)
        probabilities = jax.nn.softmax(descending, axis=-1)
        above = jnp.cumsum(probabilities, axis=-1) - probabilities
        kept = (above < top_p).at[:, 0].set(True)
        least = jnp.min(jnp.where(kept, descending, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits

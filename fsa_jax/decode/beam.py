"""Beam search, with the semantics of transformers' `generate` (5.x, `_beam_search`).

Each step extends the k running beams of an input by every id and looks at the best 2k
continuations: enough that k of them go on even if k end. What ends among the best k competes, by
log-likelihood / length ** length_penalty, for a place in the k finished. An input is closed for
good when its best running beam, scored at the present length, is no better than its worst finished
one, and that place is taken.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from fsa_jax.configs import T5Config
from fsa_jax.model.decoding import Cache, Fixed, decode_step, init_cache

_NEVER = -1e9  # a score below all real ones; finite, so that sums of it stay comparable


class _Beams(NamedTuple):
    """k hypotheses of each input, best first. J below is k beams, or 2k candidates."""

    ids: Int[Array, 'B J T']
    scores: Float[Array, 'B J']

    def take(self, order: Int[Array, 'B j']) -> '_Beams':
        return _Beams(_take(self.ids, order), _take(self.scores, order))


class _State(NamedTuple):
    step: Int[Array, '']
    running: _Beams  # scores are log-likelihoods
    finished: _Beams  # scores are penalised; _NEVER where there is none yet
    is_finished: Bool[Array, 'B k']
    is_open: Bool[Array, 'B']  # the finished may still improve
    cache: Cache


def decode(
    config: T5Config,
    fixed: Fixed,
    real: Bool[Array, 'B'],
    length: int,
    *,
    num_beams: int,
    length_penalty: float,
    early_stopping: bool,
) -> Int[Array, 'B T']:
    """The best of `num_beams` hypotheses: up to `length` ids, </s> included, padding after it.

    Rows that are not `real` only fill the batch.
    """
    batch = real.shape[0]

    def unfinished(state: _State) -> Array:
        return (state.step < length) & state.is_open.any()

    def advance(state: _State) -> _State:
        tokens = state.running.ids[:, :, jnp.maximum(state.step - 1, 0)]
        tokens = jnp.where(state.step == 0, config.decoder_start_token_id, tokens)
        logits, cache = decode_step(config, fixed, state.cache, tokens.reshape(-1), state.step)
        candidates, parents = _extend(state.running, logits, state.step)
        ends = candidates.ids[:, :, state.step] == config.eos_token_id
        ends |= state.step + 1 == length

        going_on = candidates._replace(scores=candidates.scores + ends * _NEVER)
        best = jax.lax.top_k(going_on.scores, num_beams)[1]
        running = going_on.take(best)
        origin = _take(parents, best)

        penalty = (state.step + 1).astype(jnp.float32) ** length_penalty
        eligible = ends & (jnp.arange(2 * num_beams) < num_beams)
        eligible &= state.is_open[:, None]
        new = candidates._replace(
            scores=jnp.where(eligible, candidates.scores / penalty, 2 * _NEVER)
        )
        finished, is_finished = _merge(state, new, eligible, num_beams)

        # Those of an input that miss one of k finished stay open: _NEVER is easily improved on.
        worst = jnp.where(is_finished.all(-1), finished.scores[:, -1], _NEVER)
        is_open = state.is_open & (running.scores[:, 0] / penalty > worst)
        if early_stopping:
            is_open &= ~is_finished.all(-1)
        return _State(
            step=state.step + 1,
            running=running,
            finished=finished,
            is_finished=is_finished,
            is_open=is_open,
            cache=jax.tree.map(lambda x: _take_beams(x, origin), cache),
        )

    empty = jnp.full((batch, num_beams, length), config.pad_token_id, jnp.int32)
    never = jnp.full((batch, num_beams), _NEVER, jnp.float32)
    first = _State(
        step=jnp.int32(0),
        running=_Beams(empty, never.at[:, 0].set(0.0)),  # all beams start alike: extend one
        finished=_Beams(empty, never),
        is_finished=jnp.zeros((batch, num_beams), bool),
        is_open=real,
        cache=init_cache(config, batch * num_beams, length),
    )
    return jax.lax.while_loop(unfinished, advance, first).finished.ids[:, 0]


def _extend(running: _Beams, logits: Float[Array, 'N V'], step: Int[Array, '']):
    """The best 2k continuations of each input, best first, and the beam each one extends."""
    batch, beams = running.scores.shape
    vocabulary = logits.shape[-1]
    log_likelihood = jax.nn.log_softmax(logits, axis=-1).reshape(batch, beams, vocabulary)
    totals = (running.scores[:, :, None] + log_likelihood).reshape(batch, -1)
    scores, flat = jax.lax.top_k(totals, 2 * beams)
    parents = flat // vocabulary
    ids = _take(running.ids, parents).at[:, :, step].set(flat % vocabulary)
    return _Beams(ids, scores), parents


def _merge(state: _State, new: _Beams, eligible: Bool[Array, 'B J'], num_beams: int):
    """The best k among the finished so far and the `new` ones, and which of them are real."""
    ids = jnp.concatenate([state.finished.ids, new.ids], axis=1)
    scores = jnp.concatenate([state.finished.scores, new.scores], axis=1)
    is_finished = jnp.concatenate([state.is_finished, eligible], axis=1)
    scores, best = jax.lax.top_k(scores, num_beams)
    return _Beams(_take(ids, best), scores), _take(is_finished, best)


def _take_beams(x: Array, order: Int[Array, 'B k']) -> Array:
    """Rows of x [B * k, ...] in another order within each input.

    Along an axis of their own: through flat indices the partitioner cannot see that the rows of an input
    stay on its device, and gathers the whole cache on every device in every step.
    """
    return _take(x.reshape(*order.shape, *x.shape[1:]), order).reshape(x.shape)


def _take(x: Array, order: Int[Array, 'B j']) -> Array:
    """x[b, order[b, j]], along axis 1."""
    return jnp.take_along_axis(x, order.reshape(*order.shape, *(1,) * (x.ndim - 2)), axis=1)

"""Log-likelihoods of a few continuations of a forced prefix: one pass, nothing is generated.

All continuations of a row lie behind its prefix in one decoder row, each at the positions that
follow the prefix, and see the prefix and themselves alone:

    slot       0      1  …  P    P+1  P+2    P+3  P+4
    token   <start>  prefix …    Very Negative    Positive …
    position   0      1  …  P    P+1  P+2    P+1  P+2

So the encoder runs once for a row and the prefix once for all its continuations, and the vocabulary
is looked at only where a continuation's id is predicted.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from fsa_jax.configs import T5Config
from fsa_jax.decode.batches import longest_first, padded, power_of_two
from fsa_jax.model.t5 import T5, Params

Ids = Sequence[int]
_PREFIX_STEP = 8  # prefixes are padded to multiples of it


class LikelihoodScorer:
    """Scores rows in batches of `batch_size`; few shapes are compiled."""

    def __init__(self, config: T5Config, batch_size: int = 64):
        self.config, self.batch_size = config, batch_size
        self._score = jax.jit(partial(_log_likelihoods, T5(config)))

    def score(
        self, params: Params, inputs: Sequence[Ids], prefixes: Sequence[Ids], labels: Sequence[Ids]
    ) -> Float[np.ndarray, 'N C']:
        """log p(label | input, prefix), in nats, of each of the `labels` after each prefix.

        Args:
          params: the tree of `init_params`.
          inputs: input ids of each row, `</s>` included.
          prefixes: the first decoder ids of each row, without the start id; may be empty.
          labels: the ids of each continuation, the same for all rows; not empty.
        """
        order = longest_first(inputs)
        scores = np.zeros((len(inputs), len(labels)), np.float32)
        tables = _label_tables(labels)
        size = min(self.batch_size, len(inputs))
        for first in range(0, len(inputs), self.batch_size):
            rows = order[first : first + self.batch_size]
            tokens = padded([inputs[i] for i in rows], size, power_of_two(len(inputs[rows[0]])))
            lengths = np.zeros(size, np.int32)
            lengths[: len(rows)] = [len(prefixes[i]) for i in rows]
            columns = -(-int(lengths.max()) // _PREFIX_STEP) * _PREFIX_STEP
            prefix = padded([prefixes[i] for i in rows], size, columns)
            found = self._score(params, tokens, prefix, lengths, *tables)
            scores[rows] = np.asarray(found)[: len(rows), : len(labels)]
        return scores


def _label_tables(labels: Sequence[Ids]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all ids of all labels, one behind the other: id, place in its label, number of its label."""
    flat = [
        (token, place, number)
        for number, ids in enumerate(labels)
        for place, token in enumerate(ids)
    ]
    token, place, number = np.array(flat, np.int32).T
    return token, place, number


def _log_likelihoods(
    model: T5,
    params: Params,
    inputs: Int[Array, 'B S'],
    prefix: Int[Array, 'B P'],
    lengths: Int[Array, 'B'],
    token: Int[Array, 'K'],
    place: Int[Array, 'K'],
    number: Int[Array, 'K'],
) -> Float[Array, 'B C']:
    """Sums over each label of log p(id); K ids of C <= K labels (columns beyond C are 0)."""
    batch, columns = prefix.shape
    ids = token.shape[0]
    start = jnp.full((batch, 1), model.config.decoder_start_token_id, jnp.int32)
    tokens = jnp.concatenate([start, prefix, jnp.broadcast_to(token, (batch, ids))], axis=1)
    behind = lengths[:, None] + 1 + place
    positions = jnp.concatenate(
        [jnp.broadcast_to(jnp.arange(columns + 1), (batch, columns + 1)), behind], axis=1
    )
    mask = _tree_mask(columns + 1, lengths, place, number)

    def forward(module: T5) -> Float[Array, 'B K V']:
        encoded = module.encode(inputs)
        hidden = module.decoder(
            module.embed(tokens),
            mask,
            positions,
            encoded,
            module.padding_mask(inputs),
            deterministic=True,
        )
        # An id is predicted by the slot before it: of a label's first, the end of the prefix.
        before = jnp.where(place == 0, lengths[:, None], columns + jnp.arange(ids))
        return module.logits(jnp.take_along_axis(hidden, before[:, :, None], axis=1))

    logits: Any = model.apply({'params': params}, method=forward)
    likely = jnp.take_along_axis(logits, jnp.broadcast_to(token, (batch, ids))[:, :, None], axis=2)
    log_probs = likely[:, :, 0] - jax.nn.logsumexp(logits, axis=-1)
    return log_probs @ jax.nn.one_hot(number, ids, dtype=jnp.float32)


def _tree_mask(columns: int, lengths, place, number) -> Array:
    """[B, 1, T, T]: slots of the prefix see those before them, an id of a label the prefix and its
    label's ids up to itself."""
    ids = place.shape[0]
    prefix_slots = jnp.arange(columns)
    causal = prefix_slots[:, None] >= prefix_slots
    own = (number[:, None] == number) & (place[:, None] >= place)
    real = prefix_slots <= lengths[:, None]  # slot 0 is the start
    batch = lengths.shape[0]
    above = jnp.concatenate([causal, jnp.zeros((columns, ids), bool)], axis=1)
    below = jnp.concatenate(
        [
            jnp.broadcast_to(real[:, None], (batch, ids, columns)),
            jnp.broadcast_to(own, (batch, ids, ids)),
        ],
        axis=2,
    )
    above = jnp.broadcast_to(above, (batch, *above.shape))
    return jnp.concatenate([above, below], axis=1)[:, None]

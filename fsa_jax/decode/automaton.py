"""The texts that one row may have, as an automaton over ids, and how a compiled loop follows it.

An edge leads from a state by an id to a state; an accepted text ends with `</s>`. Of an id that the
model would like, only the logits at the edges of the present state are looked at, so a step costs
one gather of [N, E], little beside a step of the model, and tables of any grammar are arguments of
the same compiled program.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from fsa_jax.decode.stepwise import Choose

START = 0  # the state before the first id
_NOWHERE = -1  # the source of edges that pad a table
_FEWEST = 256  # edges; tables are padded to this times a power of two


class Automaton(NamedTuple):
    """int32 [E] each, of one row; stacked [N, E] of a batch.

    Edge e leads from state `source[e]` by the id `token[e]` to the state `target[e]`, whence at least
    `need[e]` further ids lead to the end. No two edges of one state have the same id.
    """

    source: np.ndarray
    token: np.ndarray
    target: np.ndarray
    need: np.ndarray


def stack(automata: Sequence[Automaton], rows: int) -> Automaton:
    """Tables [rows, E] of at most `rows` automata, E a size that few programs are compiled for."""
    size = _FEWEST
    while size < max(len(one.source) for one in automata):
        size *= 2
    tables = np.zeros((len(Automaton._fields), rows, size), np.int32)
    tables[0] = _NOWHERE
    for row, one in enumerate(automata):
        for table, values in zip(tables, one):
            table[row, : len(values)] = values
    return Automaton(*tables)


def constrained(choose: Choose, edges: Automaton, length: int) -> tuple[Choose, Any]:
    """`choose` among the ids that the edges [N, E] of each row allow, and its first memory.

    An edge is taken only while the rest still fits in `length` ids, so every text is whole.
    """

    def chosen(logits: Float[Array, 'N V'], step: Int[Array, ''], states: Int[Array, 'N']):
        allowed = (edges.source == states[:, None]) & (edges.need < length - step)
        scores = jnp.take_along_axis(logits, edges.token, axis=1)
        best, _ = choose(jnp.where(allowed, scores, -jnp.inf), step, ())
        return tuple(
            jnp.take_along_axis(jnp.asarray(table), best[:, None], axis=1)[:, 0]
            for table in (edges.token, edges.target)
        )

    return chosen, jnp.full(edges.source.shape[0], START, jnp.int32)

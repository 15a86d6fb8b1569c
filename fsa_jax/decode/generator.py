"""The generator: lists of ids in, lists of ids out, in few compiled shapes."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from fsa_jax.configs import DecodeConfig, T5Config
from fsa_jax.decode import automaton, beam, stepwise
from fsa_jax.decode.automaton import Automaton
from fsa_jax.decode.batches import longest_first, padded, power_of_two
from fsa_jax.errors import UserError
from fsa_jax.model.decoding import start
from fsa_jax.model.t5 import Params
from fsa_jax.partition import Partition, spread


class Generated(NamedTuple):
    """One text: its ids, without the start id and `</s>`, and the log-probability of each.

    `ended` is False where the limit cut it.
    """

    ids: list[int]
    log_probs: list[float]
    ended: bool


class _Rules(NamedTuple):
    """What bounds the texts of a batch; a pytree."""

    edges: Automaton | None  # arrays [B, E]
    prefix: Any  # int32 [P]
    barred: Any  # int32 [K]


class Generator:
    """Decodes with one config; compiled programs are kept, so new params cost nothing.

    With a partition, the rows of a batch are spread over the data and fsdp axes of its mesh and the
    result is replicated: every process passes the same inputs and gets all outputs, in order.
    """

    def __init__(self, config: T5Config, decode: DecodeConfig, partition: Partition | None = None):
        """`decode.dtype` overrides the dtype of the model's activations."""
        if decode.dtype != 'model':
            config = config.replace(dtype=decode.dtype)
        self.config, self.decode, self.partition = config, decode, partition
        self._decode = jax.jit(
            self._decode_batch,
            static_argnames=('length', 'scores'),
            out_shardings=partition.replicated if partition else None,
        )

    def generate(
        self,
        params: Params,
        inputs: Sequence[Sequence[int]],
        max_new_tokens: int | None = None,
        rows: Sequence[int] | None = None,
        automata: Sequence[Automaton] | None = None,
    ) -> list[list[int]]:
        """Generated ids of each input, in order: without the start id, cut before `</s>`.

        Args:
          params: the tree of `init_params`.
          inputs: token ids, `</s>` included, not empty.
          max_new_tokens: most ids generated, `</s>` included; None: DecodeConfig.max_new_tokens.
          rows: what each row is called when sampling, int32; its text depends on this name and
            DecodeConfig.seed, not on its batch. None: 0, 1, 2, ...
          automata: the texts that each input may have (grammar.py). None: any.
        """
        found = self._generate(params, inputs, max_new_tokens, rows, automata)
        return [generated.ids for generated in found]

    def generate_scored(
        self,
        params: Params,
        inputs: Sequence[Sequence[int]],
        max_new_tokens: int | None = None,
        rows: Sequence[int] | None = None,
        automata: Sequence[Automaton] | None = None,
        *,
        prefix: Sequence[int] = (),
        barred: Sequence[int] = (),
    ) -> list[Generated]:
        """`generate`, with the log-probability of every id; not with DecodeConfig.method='beam'.

        Args:
          prefix: ids that every text begins with.
          barred: ids that may not be the first after `prefix`.
        """
        return self._generate(
            params, inputs, max_new_tokens, rows, automata, prefix, barred, scores=True
        )

    def _generate(
        self, params, inputs, max_new_tokens, rows, automata, prefix=(), barred=(), scores=False
    ) -> list[Generated]:
        length = max_new_tokens or self.decode.max_new_tokens
        if self.decode.method == 'beam' and (scores or automata):
            raise UserError(
                "DecodeConfig.method='beam' neither scores its ids nor follows a grammar; "
                "expected 'greedy' or 'sample'"
            )
        names = np.arange(len(inputs)) if rows is None else np.asarray(rows)
        size = self._batch_size(len(inputs))
        rules = _Rules(None, np.asarray(prefix, np.int32), np.asarray(barred, np.int32))
        by_length = longest_first(inputs)
        outputs: list[Generated] = [Generated([], [], True)] * len(inputs)
        for first in range(0, len(inputs), size):
            batch = by_length[first : first + size]
            if automata:
                rules = rules._replace(edges=automaton.stack([automata[i] for i in batch], size))
            columns = power_of_two(len(inputs[batch[0]]))
            tokens = padded([inputs[i] for i in batch], size, columns, self.config.pad_token_id)
            ids, log_probs = self._run(params, tokens, names[batch], rules, length, scores)
            for row, i in enumerate(batch):
                outputs[i] = _until(ids[row], log_probs[row], self.config.eos_token_id)
        return outputs

    def _batch_size(self, rows: int) -> int:
        """Rows of each batch: fewer than configured where there are few, a multiple of the shards."""
        size = min(self.decode.batch_size, power_of_two(rows, 1))
        shards = self.partition.data_shards if self.partition else 1
        return math.ceil(size / shards) * shards

    def _run(self, params, tokens, names, rules: _Rules, length: int, scores: bool):
        """Generated ids and their log-probabilities, each [size, T], of one batch."""
        size = len(tokens)
        numbers = np.zeros(size, np.int32)
        numbers[: len(names)] = names
        batch = tokens, np.arange(size) < len(names), numbers
        if self.partition is None:
            found = self._decode(params, *batch, rules, length=length, scores=scores)
        else:
            by_row = partial(spread, shardings=self.partition.rows)
            if rules.edges is not None:
                rules = rules._replace(edges=jax.tree.map(by_row, rules.edges))
            with self.partition.context():
                found = self._decode(
                    params, *map(by_row, batch), rules, length=length, scores=scores
                )
        ids, log_probs = jax.device_get(found)
        return ids, np.zeros(ids.shape, np.float32) if log_probs is None else log_probs

    def _decode_batch(
        self,
        params: Params,
        tokens: Int[jax.Array, 'B S'],
        real: Bool[jax.Array, 'B'],
        numbers: Int[jax.Array, 'B'],
        rules: _Rules,
        *,
        length: int,
        scores: bool,
    ) -> tuple[Int[jax.Array, 'B T'], Float[jax.Array, 'B T'] | None]:
        fixed = start(self.config, params, tokens, length)
        if self.decode.method == 'beam':
            return self._beam(fixed, real, length), None
        choose: stepwise.Choose = stepwise.greedy
        memory: Any = ()
        if self.decode.method == 'sample':
            choose = self._sampler(numbers)
        if rules.edges is not None:
            choose, memory = automaton.constrained(choose, rules.edges, length)
        if rules.prefix.size or rules.barred.size:
            choose = stepwise.forced(choose, rules.prefix, rules.barred)
        if scores:
            choose, memory = stepwise.scored(choose, memory, len(tokens), length)
        ids, memory = stepwise.decode(self.config, fixed, real, length, choose, memory)
        return ids, memory[1] if scores else None

    def _sampler(self, numbers: Int[jax.Array, 'B']) -> stepwise.Choose:
        d = self.decode
        return stepwise.sampler(
            numbers, d.seed, temperature=d.temperature, top_k=d.top_k, top_p=d.top_p
        )

    def _beam(self, fixed, real, length):
        d = self.decode
        return beam.decode(
            self.config,
            fixed,
            real,
            length,
            num_beams=d.num_beams,
            length_penalty=d.length_penalty,
            early_stopping=d.early_stopping,
        )


def _until(ids: np.ndarray, log_probs: np.ndarray, end: int) -> Generated:
    ends = np.flatnonzero(ids == end)
    length = int(ends[0]) if len(ends) else len(ids)
    return Generated(ids[:length].tolist(), log_probs[:length].tolist(), len(ends) > 0)

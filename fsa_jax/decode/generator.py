"""The generator: lists of ids in, lists of ids out, in few compiled shapes."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Bool, Int

from fsa_jax.configs import DecodeConfig, T5Config
from fsa_jax.decode import beam, stepwise
from fsa_jax.model.decoding import start
from fsa_jax.model.t5 import Params
from fsa_jax.partition import DATA, FSDP, Partition

_SHORTEST = 32  # input ids; batches are padded to this times a power of two


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
            static_argnames='length',
            out_shardings=partition.replicated if partition else None,
        )

    def generate(
        self,
        params: Params,
        inputs: Sequence[Sequence[int]],
        max_new_tokens: int | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[list[int]]:
        """Generated ids of each input, in order: without the start id, cut before `</s>`.

        Args:
          params: the tree of `init_params`.
          inputs: token ids, `</s>` included, not empty.
          max_new_tokens: most ids generated, `</s>` included; None: DecodeConfig.max_new_tokens.
          rows: what each row is called when sampling, int32; its text depends on this name and
            DecodeConfig.seed, not on its batch. None: 0, 1, 2, ...
        """
        length = max_new_tokens or self.decode.max_new_tokens
        names = np.arange(len(inputs)) if rows is None else np.asarray(rows)
        size = self._batch_size(len(inputs))
        by_length = np.argsort([-len(ids) for ids in inputs], kind='stable')
        outputs: list[list[int]] = [[]] * len(inputs)
        for first in range(0, len(inputs), size):
            batch = by_length[first : first + size]
            generated = self._run(params, [inputs[i] for i in batch], names[batch], size, length)
            for i, ids in zip(batch, generated):
                outputs[i] = _until(ids.tolist(), self.config.eos_token_id)
        return outputs

    def _batch_size(self, rows: int) -> int:
        """Rows of each batch: fewer than configured where there are few, a multiple of the shards."""
        size = min(self.decode.batch_size, _power_of_two(rows, 1))
        shards = self.partition.data_shards if self.partition else 1
        return math.ceil(size / shards) * shards

    def _run(self, params, inputs, names, size: int, length: int) -> np.ndarray:
        """Generated ids [n, T] of one batch of n <= `size` inputs."""
        columns = _power_of_two(max(map(len, inputs)), _SHORTEST)
        tokens = np.full((size, columns), self.config.pad_token_id, np.int32)
        for row, ids in zip(tokens, inputs):
            row[: len(ids)] = ids
        numbers = np.zeros(size, np.int32)
        numbers[: len(names)] = names
        batch = tokens, np.arange(size) < len(inputs), numbers
        if self.partition is None:
            generated = self._decode(params, *batch, length=length)
        else:
            with self.partition.context():
                generated = self._decode(params, *map(self._spread, batch), length=length)
        return np.asarray(generated)[: len(inputs)]

    def _spread(self, x: np.ndarray) -> jax.Array:
        """`x` with its rows over the mesh; every process holds all of it and puts its own part."""
        assert self.partition is not None
        by_row = NamedSharding(self.partition.mesh, PartitionSpec((DATA, FSDP)))
        return jax.make_array_from_callback(x.shape, by_row, x.__getitem__)

    def _decode_batch(
        self,
        params: Params,
        tokens: Int[jax.Array, 'B S'],
        real: Bool[jax.Array, 'B'],
        numbers: Int[jax.Array, 'B'],
        *,
        length: int,
    ) -> Int[jax.Array, 'B T']:
        fixed = start(self.config, params, tokens, length)
        method = {'greedy': self._greedy, 'sample': self._sample, 'beam': self._beam}
        return method[self.decode.method](fixed, real, numbers, length)

    def _greedy(self, fixed, real, numbers, length):
        return stepwise.decode(self.config, fixed, real, length, stepwise.greedy)

    def _sample(self, fixed, real, numbers, length):
        d = self.decode
        choose = stepwise.sampler(
            numbers, d.seed, temperature=d.temperature, top_k=d.top_k, top_p=d.top_p
        )
        return stepwise.decode(self.config, fixed, real, length, choose)

    def _beam(self, fixed, real, numbers, length):
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


def _power_of_two(n: int, least: int) -> int:
    """The smallest of least, 2 least, 4 least, ... that is at least n."""
    while least < n:
        least *= 2
    return least


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids

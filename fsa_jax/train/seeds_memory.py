"""How many seeds fit the memory of the devices together."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from fsa_jax.train.job import Job

_SHARE = 0.85  # of the free memory: what XLA lays out besides is not in the estimate
_COPIES = 4  # of the parameters: current, best, gradients, updates
_LOGITS = 3  # pieces of the logits at once: themselves, their softmax, their gradient


@dataclass(frozen=True)
class SeedBytes:
    """What one seed takes, in bytes: an estimate from shapes, before anything is compiled."""

    parameters: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return _COPIES * self.parameters + self.optimizer + self.activations

    def __str__(self) -> str:
        copies, optimizer, activations, total = (
            f'{size / 1e9:.2f}'
            for size in (_COPIES * self.parameters, self.optimizer, self.activations, self.total)
        )
        return (
            f'{total} GB a seed (parameters, their best, gradients and updates {copies}, optimizer '
            f'{optimizer}, activations {activations})'
        )


def seed_bytes(job: Job) -> SeedBytes:
    """The bytes of one seed of a job.

    Activations are what reverse-mode differentiation keeps of a microbatch of the largest shape, and
    the pieces of its logits.
    """
    config = job.rows.config
    rows = config.batch_size // config.microbatches
    encoder, decoder = job.rows.largest
    batch: dict[str, Any] = {
        name: jax.ShapeDtypeStruct((rows, slots), dtype)
        for name, slots, dtype in (
            ('encoder_input_tokens', encoder, jnp.int32),
            ('decoder_input_tokens', decoder, jnp.int32),
            ('decoder_target_tokens', decoder, jnp.int32),
            ('decoder_loss_weights', decoder, jnp.float32),
            ('decoder_task_ids', decoder, jnp.int32),
        )
    }

    def residuals(params, batch):
        def loss(params):
            return job.loss(params, batch, 1.0, jax.random.key(0))[0]

        return jax.vjp(loss, params)[1]

    kept = _bytes(jax.eval_shape(residuals, job.abstract.params, batch))
    vocabulary = job.config.vocab_size + job.config.vocab_padding
    logits = _LOGITS * 4 * min(rows * decoder, job.loss.chunk_tokens) * vocabulary
    parameters = _bytes(job.abstract.params)
    # what is kept holds the parameters too
    activations = max(kept - parameters, 0) + logits
    return SeedBytes(parameters, _bytes(job.abstract.opt_state), activations)


def _bytes(tree: Any) -> int:
    return sum(
        math.prod(x.shape) * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
        if jnp.issubdtype(x.dtype, jnp.number) or jnp.issubdtype(x.dtype, jnp.bool_)
    )


def free_bytes() -> int:
    """Free memory of the first device; on a CPU what the machine says is available."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != 'cpu' else None
    if stats:
        return stats['bytes_limit'] - stats['bytes_in_use']
    meminfo = Path('/proc/meminfo')
    if meminfo.is_file():
        fields = dict(line.split(':') for line in meminfo.read_text().splitlines())
        return int(fields['MemAvailable'].split()[0]) * 1024
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2


def group_sizes(count: int, seed: int, free: int, devices: int) -> list[int]:
    """Sizes of the groups that `count` seeds train in, as few and as even as memory allows.

    `seed` is the bytes of one, `free` the bytes of each of `devices` devices, over which a group
    spreads as Partition.over_seeds does.
    """

    def fits(size: int) -> bool:
        return size // math.gcd(size, devices) * seed <= _SHARE * free

    for groups in range(1, count + 1):
        sizes = [count // groups + (i < count % groups) for i in range(groups)]
        if all(map(fits, sizes)):
            return sizes
    return [1] * count

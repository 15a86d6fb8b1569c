"""Where the wall time of a run goes, over all its starts, and how busy its devices are."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fsa_jax.plan.topology import CHIPS

KINDS = ('step', 'compile', 'data', 'checkpoint', 'evaluation', 'restart')
PREFIX = 'goodput/'
_CLOCK, _WALL = f'{PREFIX}clock', f'{PREFIX}wall_seconds'

# Peak bf16 operations a second by jax's device_kind; GPUs without sparsity, by NVIDIA's data sheets.
PEAKS = {
    'TPU v4': CHIPS['v4'].flops,
    'TPU v5 lite': CHIPS['v5e'].flops,
    'TPU v5': CHIPS['v5p'].flops,
    'TPU v5p': CHIPS['v5p'].flops,
    'TPU v6 lite': CHIPS['v6e'].flops,
    'NVIDIA A100-SXM4-40GB': 312e12,
    'NVIDIA A100-SXM4-80GB': 312e12,
    'NVIDIA H100 80GB HBM3': 989e12,
    'NVIDIA H200': 989e12,
}


class Goodput:
    """Wall seconds by kind; every moment since the first start is of exactly one.

    step        steps on the devices, and all that is not another kind
    compile     tracing and compiling the step
    data        waiting for a batch
    checkpoint  copying a state and waiting for one to be on disk (the rest happens meanwhile)
    evaluation  validation, its compiling too
    restart     from a start to its first step; of a resumed run, since the last row that survives:
                the time it was down, and the work that is done again
    """

    def __init__(self):
        self._seconds = dict.fromkeys(KINDS, 0.0)
        self._kind, self._since = 'restart', time.monotonic()

    def resume(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Goes on from the last of the rows that earlier starts left."""
        last = next((row for row in reversed(rows) if _CLOCK in row), None)
        if last is None:
            return
        for kind in KINDS:
            self._seconds[kind] += last[PREFIX + kind] * last[_WALL]
        now = time.monotonic()
        self._seconds['restart'] += max(0.0, time.time() - last[_CLOCK] - (now - self._since))

    def turn_to(self, kind: str) -> str:
        """From here on time is of this kind; returns what it was of."""
        now = time.monotonic()
        self._seconds[self._kind] += now - self._since
        before, self._kind, self._since = self._kind, kind, now
        return before

    @contextlib.contextmanager
    def spent_on(self, kind: str) -> Iterator[None]:
        """Time in here is of this kind."""
        before = self.turn_to(kind)
        try:
            yield
        finally:
            self.turn_to(before)

    def row(self) -> dict[str, float]:
        """The shares of each kind, which add up to 1, of the wall seconds since the first start."""
        self.turn_to(self._kind)
        wall = sum(self._seconds.values())
        shares = {PREFIX + kind: spent / wall for kind, spent in self._seconds.items()}
        return {_CLOCK: time.time(), _WALL: wall, **shares}


def utilisation(flops_per_second: float, device_kind: str, devices: int) -> dict[str, float]:
    """{'model_flops_per_second'}, and 'mfu', the share of the devices' peak in bf16, where known.

    MFU as in Chowdhery et al. 2022 (PaLM, appendix B): needed operations alone (fsa_jax/flops.py).
    """
    values = {'model_flops_per_second': flops_per_second}
    if device_kind in PEAKS:
        values['mfu'] = flops_per_second / (PEAKS[device_kind] * devices)
    return values

"""The least time that a step can take on slices, from counts and published peaks.

A bound, not a measurement: each of the chip's three clocks (products, HBM, network) at its peak for
all of the step, and the longest of them alone. Real steps overlap less and reach peaks seldom.
"""

from dataclasses import dataclass
from typing import Any

from fsa_jax import flops
from fsa_jax.plan.program import Knobs
from fsa_jax.plan.topology import Slices


@dataclass(frozen=True)
class Roofline:
    """Seconds that a step needs of each clock of a chip; operations are of the whole step."""

    operations: int  # that training needs: what MFU counts
    rematerialised: int  # that T5Config.remat adds
    compute: float
    memory: float
    ici: float
    dcn: float
    peak: float  # operations per second of all chips

    @property
    def step(self) -> float:
        """Seconds of a step where all clocks overlap perfectly."""
        return max(self.compute, self.memory, self.ici, self.dcn)

    @property
    def without_overlap(self) -> float:
        """Seconds of a step where nothing overlaps, each clock still at its peak."""
        return self.compute + self.memory + self.ici + self.dcn

    @property
    def mfu(self) -> float:
        """The most that the model's operations can be of the peak (PaLM's MFU)."""
        return self.operations / (self.step * self.peak)

    @property
    def bound(self) -> str:
        """The clock that decides."""
        clocks = {'compute': self.compute, 'memory': self.memory, 'ICI': self.ici, 'DCN': self.dcn}
        return max(clocks, key=clocks.__getitem__)


def roofline(knobs: Knobs, slices: Slices, answer: dict[str, Any]) -> Roofline:
    """Of a program that fits, from what its compiler said (compiler.ask)."""
    rows = knobs.rows
    shape = rows.batch_size, rows.encoder_length, rows.decoder_length
    needed, again = flops.train_step(knobs.model, *shape), flops.rematerialised(knobs.model, *shape)
    chip, peak = slices.chip, slices.chip.flops * slices.chips
    # Products in float32 take at least six passes of the bfloat16 unit (Precision.HIGHEST).
    passes = 6 if knobs.model.dtype == 'float32' else 1
    return Roofline(
        operations=needed,
        rematerialised=again,
        compute=passes * (needed + again) / peak,
        memory=answer['hbm_bytes'] / chip.hbm_rate,
        ici=sent(answer, 'ici') / chip.ici,
        dcn=sent(answer, 'dcn') / chip.dcn,
        peak=peak,
    )


def sent(answer: dict[str, Any], network: str) -> float:
    """Bytes that a chip sends in a step over a network, 'ici' or 'dcn'."""
    return sum(row[network] for row in answer['collectives'])


def used(answer: dict[str, Any]) -> int:
    """HBM of a chip at the height of the step, as the compiler planned it."""
    return sum(answer['memory'].values())


def activations(answer: dict[str, Any]) -> int:
    """Of that what is not parameters, optimizer state, batch or program: temporaries, the gradients
    among them."""
    memory = answer['memory']
    return memory['temporaries'] + memory['results']

"""The least time that a step can take on slices, from counts and published peaks.

A bound, not a measurement: each of the chip's three clocks (products, HBM, network) at its peak for
all of the step, and the longest of them alone. Real steps overlap less and reach peaks seldom.
"""

from dataclasses import dataclass
from typing import Any

from fsa_jax import flops
from fsa_jax.partition import mesh_shape
from fsa_jax.plan.program import Knobs
from fsa_jax.plan.topology import Slices

PASSES = 6  # of the bfloat16 unit that a product in float32 takes at least (Precision.HIGHEST)


@dataclass(frozen=True)
class Roofline:
    """Seconds that a step needs of each clock of a chip; operations are of the whole step."""

    operations: int  # that training needs: what MFU counts
    rematerialised: int  # that T5Config.remat adds
    compute: float
    memory: float
    ici: float
    dcn: float
    between_slices: float  # bytes that a chip sends over DCN and the compiler does not tell of
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
    unseen = between_slices(knobs, slices, answer)
    chip, peak = slices.chip, slices.chip.flops * slices.chips
    passes = PASSES if knobs.model.dtype == 'float32' else 1
    return Roofline(
        operations=needed,
        rematerialised=again,
        compute=passes * (needed + again) / peak,
        memory=answer['hbm_bytes'] / chip.hbm_rate,
        ici=sent(answer, 'ici') / chip.ici,
        dcn=(sent(answer, 'dcn') + unseen) / chip.dcn,
        between_slices=unseen,
        peak=peak,
    )


def between_slices(knobs: Knobs, slices: Slices, answer: dict[str, Any]) -> float:
    """Bytes of gradients that a chip sends to other slices in a step; arithmetic, not read off the HLO.

    The runtime sends them (megascale), and the program holds no collective for it. Every gradient
    crosses the data axis once a step in TrainConfig.gradient_dtype: summed within the slice, where each
    of the chips that hold the same gradient then has its share of it, and of shares by a ring over n
    slices, which sends 2 (n - 1) / n of them. 0 where the compiler does tell what crosses.
    """
    told = any(row['dcn'] and row['dtype'] != 'small' for row in answer['collectives'])
    if slices.count == 1 or told:
        return 0.0
    alike = mesh_shape(knobs.mesh, slices.chips)[0] // slices.count
    width = 2 if knobs.train.gradient_dtype == 'bfloat16' else 4
    share = answer['held']['gradients'] * width / 4 / alike  # they are held in float32
    return 2 * (slices.count - 1) / slices.count * share


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

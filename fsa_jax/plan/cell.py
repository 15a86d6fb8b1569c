"""One run on one kind of slice: whether it fits, what it costs, and what would make it fit."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsa_jax.configs import PlanConfig
from fsa_jax.errors import UserError
from fsa_jax.plan import compiler
from fsa_jax.plan.program import Knobs
from fsa_jax.plan.roofline import Roofline, activations, roofline, used
from fsa_jax.plan.topology import GIB, Slices

Ask = Callable[[Knobs, Slices], dict[str, Any]]


@dataclass(frozen=True)
class Cell:
    """What is known of a run on slices: the knobs it was compiled with and the compiler's answer.

    `changes` are the bindings by which `knobs` differ from what was asked for, `failed` says of each
    earlier try why it does not fit.
    """

    slices: Slices
    knobs: Knobs
    answer: dict[str, Any]
    changes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the compiler found room for it."""
        return 'memory' in self.answer

    @property
    def roofline(self) -> Roofline:
        """The bound on its speed; only of a program that fits."""
        return roofline(self.knobs, self.slices, self.answer)

    @property
    def missing(self) -> str:
        """By how much it does not fit."""
        told = self.answer['exhausted']
        more = (told['needed'] - told['available']) / GIB
        return (
            f'does not fit: {more:.1f} GiB more a chip than its {told["available"] / GIB:.2f} GiB'
        )

    @property
    def hours(self) -> float:
        """Of all steps at the bound; 0 where TrainConfig.steps does not say how many."""
        return self.roofline.step * self.knobs.train.steps / 3600

    def to_json(self, price: float) -> dict[str, Any]:
        """All of it, bytes a chip and seconds a step."""
        content: dict[str, Any] = {
            'slice': self.slices.name,
            'topology': self.slices.topology,
            'num_slices': self.slices.count,
            'chips': self.slices.chips,
            'knobs': self.knobs.to_json(),
            'changes': list(self.changes),
            'failed': list(self.failed),
            'fits': self.fits,
            'answer': self.answer,
        }
        if not self.fits:
            return content
        line, hours = self.roofline, self.hours
        content['used'] = used(self.answer)
        content['headroom'] = self.slices.chip.hbm - used(self.answer)
        content['activations_and_gradients'] = activations(self.answer)
        content['roofline'] = dataclasses.asdict(line) | {
            'step': line.step,
            'without_overlap': line.without_overlap,
            'mfu': line.mfu,
            'bound': line.bound,
        }
        if hours:
            content |= {'hours': hours, 'chip_hours': hours * self.slices.chips}
        if hours and price:
            content['cost'] = hours * self.slices.chips * price
        return content


def scaled(knobs: Knobs, plan: PlanConfig, slices: Slices) -> Knobs:
    """The knobs with PlanConfig.rows_per_chip rows on each chip, where that is set."""
    if not plan.rows_per_chip:
        return knobs
    batch = plan.rows_per_chip * slices.chips
    return dataclasses.replace(knobs, rows=knobs.rows.replace(batch_size=batch))


def plan_cell(knobs: Knobs, slices: Slices, plan: PlanConfig, kept: Path) -> Cell:
    """Compiles a run for slices; where it does not fit, with up to PlanConfig.tries changes."""

    def ask(knobs: Knobs, slices: Slices) -> dict[str, Any]:
        return compiler.ask(knobs, slices, kept, plan.effort)

    return fitted(scaled(knobs, plan, slices), slices, plan.tries, ask)


def fitted(knobs: Knobs, slices: Slices, tries: int, ask: Ask) -> Cell:
    """The first of `knobs` and its remedies that fits, else the last that was tried."""
    failed: list[str] = []
    changes: tuple[str, ...] = ()
    cell = Cell(slices, knobs, ask(knobs, slices))
    for changed, bindings in remedies(knobs, slices):
        if cell.fits or len(failed) == tries:
            break
        failed.append(f'{" ".join(changes) or "as given"}: {cell.missing}')
        try:
            answer = ask(changed, slices)
        except UserError:  # the model cannot be cut like this
            failed.pop()
            continue
        changes = bindings
        cell = Cell(slices, changed, answer, changes, tuple(failed))
    return cell


def remedies(knobs: Knobs, slices: Slices) -> Iterator[tuple[Knobs, tuple[str, ...]]]:
    """Knobs that take less memory, with the bindings that differ; cheapest in time first.

    Rematerialisation, then shards of parameters and optimizer over all chips of a slice, then
    microbatches of the fewest rows, then tensor parallelism. Each keeps what those before it changed.
    """
    bindings: dict[str, Any] = {}
    chips = slices.chips // slices.count  # only the data axis may span slices

    def changed(name: str, **fields: Any) -> tuple[Knobs, tuple[str, ...]]:
        nonlocal knobs
        config = getattr(knobs, name).replace(**fields)
        knobs = dataclasses.replace(knobs, **{name: config})
        bindings.update({f'{type(config).__name__}.{k}': v for k, v in fields.items()})
        return knobs, tuple(f'--gin.{k}={v}' for k, v in bindings.items())

    for remat in ('minimal', 'full'):
        if knobs.model.remat != 'full' and knobs.model.remat != remat:
            yield changed('model', remat=remat)
    tensor = knobs.mesh.tensor
    if knobs.mesh.fsdp * tensor < chips:
        preset = 'fsdp' if tensor == 1 else 'fsdp_tp'
        yield changed('mesh', data=slices.count, fsdp=chips // tensor, preset=preset)
    most, left = divmod(knobs.rows.batch_size, slices.chips // tensor)
    if most > knobs.rows.microbatches and not left:
        yield changed('rows', microbatches=most)
    for size in (4, 8):
        if tensor < size <= chips:
            mesh = {'data': slices.count, 'fsdp': chips // size, 'tensor': size}
            yield changed('mesh', **mesh, preset='fsdp_tp')

"""What a run would need on slices that nobody has rented yet."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class PlanConfig(Config):
    """Slices to compile a training run for, and what a teacher would cost."""

    topology: tuple[str, ...] = knob(
        (), "slices, by shape or by size: 'v5e:4x4', 'v5e-16'; see the end of this page"
    )
    all: bool = knob(False, 'every slice of the list at the end of this page')
    num_slices: int = knob(1, 'slices joined over the data-centre network', low=1)
    rows_per_chip: int = knob(
        0, 'rows of a batch on each chip, instead of RowsConfig.batch_size; 0: as that says', low=0
    )
    tries: int = knob(4, 'changes of knobs tried where a program does not fit', low=0)
    effort: Literal['full', 'quick'] = knob(
        'full', "'full': the program that will run; 'quick': in half the time, optimised less"
    )
    price_per_chip_hour: float = knob(0.0, 'in your currency; 0: no cost is given', low=0.0)
    teacher_parameters: float = knob(
        0.0, "a teacher's size in billions of parameters; 0: no estimate of the teacher", low=0.0
    )
    teacher_active_parameters: float = knob(
        0.0, 'of these, what a token uses (a mixture of experts); 0: all', low=0.0
    )
    teacher_chip: Literal['H100', 'A100', 'v5e', 'v5p', 'v6e'] = knob('H100', 'what it runs on')
    teacher_generations: int = knob(2_000_000, 'answers of the teacher', low=1)
    teacher_input_tokens: int = knob(400, 'tokens of a prompt that no prefix cache holds', low=1)
    teacher_output_tokens: int = knob(250, 'tokens of an answer', low=1)
    teacher_batch: int = knob(128, 'answers decoded at once by a replica', low=1)
    teacher_efficiency: float = knob(
        0.4, 'share of the roofline that the engine reaches: an assumption, not a measurement',
        low=0.01, high=1.0,
    )  # fmt: skip

    def check(self):
        if self.teacher_active_parameters > self.teacher_parameters:
            raise UserError(
                f'PlanConfig.teacher_active_parameters={self.teacher_active_parameters:g} are more than '
                f'teacher_parameters={self.teacher_parameters:g}'
            )

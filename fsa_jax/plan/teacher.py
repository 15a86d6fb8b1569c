"""What a teacher costs, by arithmetic: hours, tokens and bytes of a corpus. No compiler is asked."""

from dataclasses import dataclass

from fsa_jax.configs import PlanConfig
from fsa_jax.plan.topology import CHIPS

_BYTES_A_TOKEN = 4.5  # UTF-8 of English text in the vocabularies of current LLMs; an assumption
# bf16 operations and bytes of HBM a second, and bytes of HBM, by the vendor's data sheets (dense).
_GPUS = {'A100': (312e12, 2039e9, 80e9), 'H100': (989e12, 3350e9, 80e9)}
_ROOM = 0.6  # of the HBM for weights; the rest is for the cache of keys and values


@dataclass(frozen=True)
class Estimate:
    """Hours of chips, tokens and bytes for a corpus; `replica` is the chips that hold one model."""

    chip: str
    replica: int
    input_tokens: float
    output_tokens: float
    corpus_bytes: float
    tokens_per_second: float  # of answers, by a replica
    replica_hours: float
    chip_hours: float
    efficiency: float

    def text(self) -> str:
        """Three lines for people."""
        return (
            f'teacher: {self.input_tokens:.3g} tokens read, {self.output_tokens:.3g} written, a corpus of '
            f'{self.corpus_bytes / 1e9:.2f} GB\n'
            f'  {self.chip_hours:.0f} hours of {self.chip}: replicas of {self.replica} chips, each '
            f'{self.tokens_per_second:,.0f} answer tokens a second\n'
            f'  an estimate: roofline of weights in bfloat16 at {self.efficiency:.0%} of the peaks '
            '(PlanConfig.teacher_efficiency); time one part of the real run, and scale that'
        )


def peaks(chip: str) -> tuple[float, float, float]:
    """(operations, bytes of HBM) a second, and bytes of HBM."""
    if chip in _GPUS:
        return _GPUS[chip]
    found = CHIPS[chip]
    return found.flops, found.hbm_rate, float(found.hbm)


def estimate(plan: PlanConfig) -> Estimate:
    """Reading is bound by products, 2 operations a token and parameter that it uses; writing by the
    longer of that and reading all weights once for each token of the batch that is decoded."""
    flops, rate, hbm = peaks(plan.teacher_chip)
    parameters = plan.teacher_parameters * 1e9
    operations = 2 * (plan.teacher_active_parameters * 1e9 or parameters)  # a token
    replica = 1
    while 2 * parameters > _ROOM * replica * hbm:
        replica *= 2
    flops, rate = flops * replica, rate * replica
    batch = plan.teacher_batch
    reading = operations * plan.teacher_input_tokens / flops
    token = max(2 * parameters / rate, operations * batch / flops) / batch
    seconds = (reading + token * plan.teacher_output_tokens) / plan.teacher_efficiency
    hours = plan.teacher_generations * seconds / 3600
    read = float(plan.teacher_generations * plan.teacher_input_tokens)
    written = float(plan.teacher_generations * plan.teacher_output_tokens)
    return Estimate(
        chip=plan.teacher_chip,
        replica=replica,
        input_tokens=read,
        output_tokens=written,
        corpus_bytes=_BYTES_A_TOKEN * (read + written),
        tokens_per_second=plan.teacher_output_tokens / seconds,
        replica_hours=hours,
        chip_hours=hours * replica,
        efficiency=plan.teacher_efficiency,
    )

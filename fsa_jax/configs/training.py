"""Distilling and fine-tuning."""

from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class OptimizerConfig(Config):
    """The optimizer and its learning-rate schedule."""

    name: Literal['adamw', 'adamw_scale', 'adafactor'] = knob(
        'adamw',
        "'adamw_scale' multiplies the step by max(1e-3, RMS(parameter)) as the paper's script does",
    )
    learning_rate: float = knob(3e-4, "the peak, nominal ('released' halves it inside)", low=0.0)
    schedule: Literal['released', 'written', 'linear', 'cosine', 'constant'] = knob(
        'linear', "'released' is the paper's schedule as it ran, 'written' as its script reads"
    )
    warmup: int = knob(0, 'warm-up steps (linear, cosine, constant)', low=0)
    floor: float = knob(1e-5, 'last learning rate of the cosine schedules', low=0.0)
    b1: float = knob(0.9, 'decay of the first moment (adamw, adamw_scale)', low=0.0, high=0.999999)
    b2: float = knob(
        0.999, 'decay of the second moment (adamw, adamw_scale)', low=0.0, high=0.999999
    )
    eps: float = knob(1e-6, 'added to the root of the second moment (adamw, adamw_scale)', low=0.0)
    weight_decay: float = knob(0.0, 'decoupled weight decay, on all parameters', low=0.0)
    clip: float = knob(1.0, 'global gradient norm clip; 0: none', low=0.0)


@dataclass(frozen=True)
class MeshConfig(Config):
    """The device mesh (data, fsdp, tensor) and how parameters lie on it."""

    data: int = knob(-1, 'data-parallel size; -1: all devices left over', low=-1, free=True)
    fsdp: int = knob(1, 'size of the axis that shards batch and parameters', low=1, free=True)
    tensor: int = knob(
        1, 'size of the axis that shards heads, mlp and vocabulary', low=1, free=True
    )
    preset: Literal['dp', 'fsdp', 'fsdp_tp'] = knob(
        'dp',
        "what is cut over these axes: 'dp' rows alone, 'fsdp' parameters over fsdp too, 'fsdp_tp' also "
        'heads, mlp and vocabulary over tensor',
        free=True,
    )


@dataclass(frozen=True)
class TrainConfig(Config):
    """Distilling and fine-tuning: the same stage with other data and another start."""

    data: str = knob(
        '', 'the packed folder to train on, or its URL (gs://, s3://, any fsspec path)'
    )
    tasks: tuple[str, ...] = knob((), 'tasks of it to train on; empty: all')
    split: str = knob('train', 'its training split')
    validation_split: str = knob('validation', 'its validation split; empty: none')
    init: str = knob(
        '',
        'model folder (of train or import) to start from, empty: from scratch; of T5Config then only '
        'dropout_rate, vocab_padding, dtype, unroll and remat count, the rest comes from init',
    )
    init_which: Literal['auto', 'latest', 'best'] = knob(
        'auto', "'auto': best if the run kept one by metric"
    )
    steps: int = knob(0, 'optimizer steps; 0: as many as epochs need', low=0)
    epochs: float = knob(0.0, 'passes over the data, when steps is 0', low=0.0)
    seed: int = knob(42, 'seed of the initial weights and dropout', low=0)
    seeds: tuple[int, ...] = knob(
        (),
        'seeds that train together in one program, each as a run alone with TrainConfig.seed and '
        'RowsConfig.seed set to it; their best parameters by metric are kept (fsa export --seed=…)',
    )
    loss_average: Literal['tokens', 'microbatch'] = knob(
        'tokens', "mean over all tokens of a step, or over microbatch means (the paper's)"
    )
    gradient_dtype: Literal['float32', 'bfloat16'] = knob(
        'float32',
        'what gradients are sent as when summed over MeshConfig.data; bfloat16 halves the traffic',
    )
    deterministic: bool = knob(
        True,
        'on GPUs, only operations that give the same bits at every run: what exact resumption needs',
        free=True,
    )
    label_smoothing: float = knob(0.0, 'label smoothing', low=0.0, high=1.0)
    z_loss: float = knob(0.0, 'weight of log(Z)^2', low=0.0)
    evaluate_every: int = knob(0, 'steps between validations; 0: each epoch', low=0)
    evaluate_examples: int = knob(0, 'validation pairs used of each task; 0: all', low=0)
    metric: str = knob(
        'auto',
        "keeps the best checkpoint by it: f1, loss, f1/TASK, loss/TASK, 'none' (only the last); "
        "'auto': f1 where a task has one, else none",
    )
    save_every: int = knob(
        1000, 'steps between checkpoints; 0: at evaluations only', low=0, free=True
    )
    save_minutes: float = knob(
        0.0, 'minutes between checkpoints as well; 0: off', low=0.0, free=True
    )
    keep: int = knob(
        2,
        'latest checkpoints kept, beside the best; with 2 a damaged newest one costs little',
        low=1,
        free=True,
    )
    hang_minutes: float = knob(
        60.0,
        'a run that does nothing for so long prints its stacks and ends (status 75); 0: never',
        low=0.0,
        free=True,
    )
    log_every: int = knob(10, 'steps between rows of metrics.jsonl', low=1, free=True)
    tensorboard: bool = knob(True, 'write TensorBoard events too', free=True)
    profile_steps: tuple[int, ...] = knob(
        (), 'first and last step to profile with the JAX profiler', free=True
    )
    staging: str = knob(
        '',
        'folder of this host for copies of data read from a URL; empty: ~/.cache/fsa_jax/staged',
        free=True,
    )
    compilation_cache: str = knob(
        '', 'folder of compiled programs, or gs://…; empty: ~/.cache/fsa_jax/xla', free=True
    )

    def check(self):
        if '://' in self.init:
            raise UserError(
                f'TrainConfig.init must be a folder that every host sees, not a URL; got {self.init!r}: '
                'copy it there first'
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f'TrainConfig.seeds must differ; got {self.seeds}')
        if self.profile_steps:
            first, last = self.profile_steps if len(self.profile_steps) == 2 else (0, 0)
            if not 1 <= first <= last:
                raise UserError(
                    'TrainConfig.profile_steps takes the first and the last step, from 1 on; got '
                    f'{self.profile_steps}'
                )

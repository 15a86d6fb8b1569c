"""Every knob of fsa_jax: flat, frozen dataclasses that check themselves on construction.

Standard library only, so that `fsa --help` is instant and every layer may read a config. A stage
declares which classes it takes (stages.py); gin builds each of them (gin_registry.py). Every input
folder is a field, so that `config.gin` and `--output` repeat a run. A file holds the classes of one
room; all are read from here: `from fsa_jax.configs import TrainConfig`.
"""

import typing

from fsa_jax.configs.base import Config, knob, to_gin, type_name
from fsa_jax.configs.benchmark import BenchmarkConfig
from fsa_jax.configs.corpus import CorpusConfig, FilterConfig
from fsa_jax.configs.data import DownloadConfig, PackConfig, RowsConfig, TrainData
from fsa_jax.configs.distributed import DistributedConfig
from fsa_jax.configs.in_context import InContextConfig
from fsa_jax.configs.judge import JudgeExportConfig, JudgeScoreConfig
from fsa_jax.configs.lab import DemoConfig, LabConfig
from fsa_jax.configs.plan import PlanConfig
from fsa_jax.configs.prompts import PROMPT_KINDS, PromptConfig
from fsa_jax.configs.reviews import ReviewsConfig
from fsa_jax.configs.student import T5Config, VocabularyConfig
from fsa_jax.configs.teacher import SamplingConfig, ServerConfig, TeacherConfig, VLLMConfig
from fsa_jax.configs.training import MeshConfig, OptimizerConfig, TrainConfig
from fsa_jax.configs.using import (
    DecodeConfig,
    ExportConfig,
    ImportConfig,
    PredictConfig,
    ReportConfig,
    ScoreConfig,
)
from fsa_jax.configs.zero_shot import CalibrateConfig, CrossDomainConfig, ZeroShotConfig
from fsa_jax.errors import UserError


def hint(name: str) -> typing.Any:
    """The type of the knob 'Class.field'."""
    cls, _, field = name.rpartition('.')
    return typing.get_type_hints(globals()[cls])[field]

"""The stages: name -> run function and the configs it takes. The one place that joins the worlds.

Functions are named by import string, so that listing stages or printing help imports none of them.
`run(out: manifest.Output, *configs)` does the work of a stage; `preview(*configs)`, where there is
one, prints what a run would do (`--dry-run`).
"""

import contextlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fsa_jax import configs as c
from fsa_jax import manifest, progress
from fsa_jax.hosts import Hosts


@dataclass(frozen=True)
class Stage:
    """One stage: `run` and `preview` are 'module:function' strings.

    A name may be two words (`judge export`). An option of a list takes all the words after it
    (`--compare A B`), one of a bool takes none.
    """

    name: str
    meaning: str
    run: str
    configs: tuple[type[c.Config], ...]
    preview: str = ''
    resumable: bool = False
    positional: str = ''  # 'Class.field' that a bare argument sets
    options: tuple[str, ...] = ()  # each 'Class.field' has an option of its own, --field=value
    writes: bool = True  # False: --output may be left out, and the stage only prints
    together: bool = False  # several processes may run it as one (DistributedConfig)
    checkpoints: bool = False  # it keeps checkpoints, which gs:// takes from all hosts at once
    notes: str = ''  # 'module:function' returning more help, light to import


STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            'download',
            'fetch benchmark data, T5 weights or the published corpus',
            'fsa_jax.data.download:run',
            (c.DownloadConfig,),
            resumable=True,
            positional='DownloadConfig.name',
            notes='fsa_jax.data.catalogue:describe',
        ),
        Stage(
            'sample',
            'draw the reviews a teacher reads: filtered, decontaminated, balanced',
            'fsa_jax.corpus.sample:run',
            (c.ReviewsConfig,),
            positional='ReviewsConfig.path',
        ),
        Stage(
            'teach',
            'ask a large language model about every review',
            'fsa_jax.teacher.run:run',
            (
                c.TeacherConfig,
                c.SamplingConfig,
                c.PromptConfig,
                c.VLLMConfig,
                c.ServerConfig,
                c.LabConfig,
            ),
            resumable=True,
            options=('TeacherConfig.shard',),
        ),
        Stage(
            'corpus',
            'teacher answers to a checked corpus, with a quality report',
            'fsa_jax.corpus.build:run',
            (c.CorpusConfig, c.FilterConfig),
            positional='CorpusConfig.answers',
            options=('CorpusConfig.compare',),
            writes=False,
        ),
        Stage(
            'judge export',
            'a blinded sample of several systems, for people to rate',
            'fsa_jax.corpus.judge_export:run',
            (c.JudgeExportConfig,),
        ),
        Stage(
            'judge score',
            'ratings of people: means with intervals, and how far they agree',
            'fsa_jax.corpus.judge_score:run',
            (c.JudgeScoreConfig,),
        ),
        Stage(
            'pack',
            'tokenise SeqIO tasks, or your own labels, into a token store',
            'fsa_jax.data.pack:run',
            (c.PackConfig, c.VocabularyConfig, c.TrainData),
        ),
        Stage(
            'train',
            'distil or fine-tune a student on packed data',
            'fsa_jax.train.loop:run',
            (
                c.TrainConfig,
                c.T5Config,
                c.RowsConfig,
                c.OptimizerConfig,
                c.MeshConfig,
                c.DecodeConfig,
            ),
            preview='fsa_jax.train.preview:preview',
            resumable=True,
            together=True,
            checkpoints=True,
        ),
        Stage(
            'plan',
            'what a training run needs on TPU slices that are not there, and a teacher',
            'fsa_jax.plan.stage:run',
            (
                c.PlanConfig,
                c.TrainConfig,
                c.T5Config,
                c.RowsConfig,
                c.OptimizerConfig,
                c.MeshConfig,
            ),
            resumable=True,
            options=('PlanConfig.topology', 'PlanConfig.all', 'PlanConfig.num_slices'),
            writes=False,
            notes='fsa_jax.plan.topology:describe',
        ),
        Stage(
            'predict',
            'generate text for a task split or your own file',
            'fsa_jax.evaluate.predict:run',
            (c.PredictConfig, c.DecodeConfig, c.MeshConfig),
            resumable=True,
            together=True,
        ),
        Stage(
            'score',
            'micro F1 of predictions, as published and strict, on every subset',
            'fsa_jax.evaluate.score:run',
            (c.ScoreConfig,),
        ),
        Stage(
            'zero-shot',
            'a distilled student on labelled texts, with no fine-tuning',
            'fsa_jax.evaluate.zero_shot:run',
            (c.ZeroShotConfig,),
            resumable=True,
            notes='fsa_jax.configs.zero_shot:notes',
        ),
        Stage(
            'cross-domain',
            'base, student and teacher by domains, zero-shot and fine-tuned',
            'fsa_jax.evaluate.cross_domain:run',
            (c.CrossDomainConfig,),
            resumable=True,
        ),
        Stage(
            'calibrate',
            "a fine-tuned student's confidence, fitted on a validation split",
            'fsa_jax.student.calibrate:run',
            (c.CalibrateConfig,),
        ),
        Stage(
            'report',
            'one page with loss curves, the F1 table and examples',
            'fsa_jax.evaluate.report:run',
            (c.ReportConfig,),
        ),
        Stage(
            'benchmark',
            "the paper's table: fine-tune with every seed, test, compare",
            'fsa_jax.evaluate.benchmark:run',
            (
                c.BenchmarkConfig,
                c.T5Config,
                c.RowsConfig,
                c.OptimizerConfig,
                c.MeshConfig,
                c.DecodeConfig,
            ),
            resumable=True,
        ),
        Stage(
            'import',
            'a Hugging Face T5 folder to a model folder',
            'fsa_jax.hf.stages:run_import',
            (c.ImportConfig,),
        ),
        Stage(
            'export',
            'a model folder to a Hugging Face folder that transformers loads',
            'fsa_jax.hf.stages:run_export',
            (c.ExportConfig,),
            options=('ExportConfig.push_to_hub', 'ExportConfig.seed'),
        ),
        Stage(
            'in-context',
            'a large language model on the same benchmark, k-shot',
            'fsa_jax.evaluate.in_context:run',
            (c.InContextConfig, c.TeacherConfig, c.SamplingConfig, c.VLLMConfig, c.ServerConfig),
            resumable=True,
        ),
        Stage(
            'demo',
            'all of it on synthetic reviews, with and without distillation',
            'fsa_jax.lab.demo:run',
            (c.DemoConfig, c.LabConfig, c.T5Config),
            resumable=True,
        ),
    )
}


def load(function: str):
    """The function that 'module:function' names."""
    module, name = function.split(':')
    return getattr(importlib.import_module(module), name)


def run(
    name: str,
    configs,
    output,
    *,
    overwrite: bool = False,
    meeting: Sequence[c.Config] = (),
) -> None:
    """Runs a stage into `output`, a folder or a URL, with configs in the order the stage declares them.

    Without an `output`, a stage that only prints gets None for its manifest.Output. `meeting` holds
    the DistributedConfig of a run that may be of several processes: they are joined first.

    Raises manifest.AlreadyDone when that folder holds this very job, finished.
    """
    stage = STAGES[name]
    if not output and not stage.writes:
        load(stage.run)(None, *configs)
        return
    hosts = load('fsa_jax.distributed:start')(*meeting) if meeting else Hosts()
    if not hosts.main:
        progress.hush()
    with (
        hosts,
        _place(output, stage, hosts, overwrite) as place,
        manifest.output(
            place.folder, name, configs, resumable=stage.resumable, overwrite=overwrite, hosts=hosts
        ) as out,
    ):
        out.flush, out.checkpoints = place.flush, place.checkpoints
        load(stage.run)(out, *configs)


def _place(output, stage: Stage, hosts: Hosts, overwrite: bool):
    """Where the stage works (a context of manifest.Place): in a folder, or in one of this host for a URL."""
    if '://' not in str(output):
        return contextlib.nullcontext(manifest.Place(Path(output)))
    return load('fsa_jax.mirror:mirrored')(output, hosts, overwrite, stage.checkpoints)


def run_once(name: str, configs: Sequence[c.Config], output: Path) -> Path:
    """Runs a stage, as a part of another, into `output`; a finished one is left as it is."""
    with contextlib.suppress(manifest.AlreadyDone):
        progress.say(f'--- fsa {name} -> {output}')
        run(name, configs, output)
    return output

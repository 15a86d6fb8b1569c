"""Stage 'benchmark': the paper's table, one command.

    packed/                       the datasets as token stores (packed-2/ for another vocabulary)
    DATASET/SYSTEM/
      seeds-42-52-62/             fine-tuned together (train); one folder for each group of seeds
      predictions-42/ scores-42/  the best epoch of a seed on the test set
    report/                       report.html and report.md
    results.json results.md       the table

A system is a model, or MODEL@FRACTION where it was trained on less than everything, or the name of a
file of answers. Each folder is an ordinary stage run: it is resumed (training at its last epoch) or
skipped on its own when the command runs again.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from fsa_jax import manifest, stages
from fsa_jax.artifacts import PREDICTIONS
from fsa_jax.configs import (
    BenchmarkConfig,
    Config,
    DecodeConfig,
    MeshConfig,
    OptimizerConfig,
    PackConfig,
    PredictConfig,
    ReportConfig,
    RowsConfig,
    ScoreConfig,
    T5Config,
    TrainConfig,
    TrainData,
    VocabularyConfig,
)
from fsa_jax.data.benchmark_files import dataset_folder
from fsa_jax.data.store import PackedFolder
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.evaluate import benchmark_results as results
from fsa_jax.evaluate.answers import read_answers
from fsa_jax.partition import Partition
from fsa_jax.progress import say
from fsa_jax.records import write_jsonl
from fsa_jax.train import seeds_memory
from fsa_jax.train.checkpoint import open_model, steps
from fsa_jax.train.job import prepare

_SPLITS = ('train', 'validation', 'test')


@dataclass(frozen=True)
class Tuning:
    """The configs of fine-tuning that all cells share."""

    model: T5Config
    rows: RowsConfig
    optimizer: OptimizerConfig
    mesh: MeshConfig
    decode: DecodeConfig


@dataclass(frozen=True)
class Cell:
    """A system on a dataset."""

    dataset: str
    system: str
    init: str
    packed: Path
    fraction: float = 1.0

    @property
    def task(self) -> str:
        """The packed task."""
        return f'fsa_{self.dataset}'


def run(
    out: manifest.Output,
    config: BenchmarkConfig,
    model: T5Config,
    rows: RowsConfig,
    optimizer: OptimizerConfig,
    mesh: MeshConfig,
    decode: DecodeConfig,
) -> None:
    """Runs what is not done yet, writes results.json, results.md and the report, prints the table."""
    _check(config, rows)
    tuning = Tuning(model, rows, optimizer, mesh, decode)
    out.read('BenchmarkConfig.data_dir', config.data_dir)
    for name, folder in config.models.items():
        if folder:
            out.read(f'BenchmarkConfig.models {name}', folder)
    for name, path in config.predictions.items():
        out.read(f'BenchmarkConfig.predictions {name}', path)
    packed = _pack(out.folder, config)
    cells = [
        Cell(dataset, _system(name, fraction), init, packed[init], fraction)
        for dataset in config.datasets
        for name, init in config.models.items()
        for fraction in config.train_fraction
    ]
    scores: dict[str, Path] = {}
    runs: dict[str, Path] = {}
    for cell in cells:
        where = out.folder / cell.dataset / cell.system
        for group in _groups(where, cell, config, tuning):
            trained = _train(where, cell, group, config, tuning)
            for seed in group:
                name = f'{cell.dataset}/{cell.system}/seed{seed}'
                runs[name] = trained / f'seed-{seed}'
                scores[name] = _test(where, cell, trained, seed, config, tuning)
    for key, path in config.predictions.items():
        name, dataset, *label = key.split('/')
        cell = Cell(dataset, name, '', next(iter(packed.values())))
        where, label = out.folder / dataset / name, label or ['1']
        scores[f'{dataset}/{name}/seed{label[0]}'] = _score_file(
            where, cell, path, label[0], config
        )
    _report(out.folder, config, runs, scores)
    knobs = manifest.knobs([config, model, rows, optimizer, decode])
    found = results.collect(out.folder, config, scores, runs, knobs)
    manifest.write_atomic(out.folder / results.JSON, json.dumps(found, indent=1) + '\n')
    manifest.write_atomic(out.folder / results.MARKDOWN, results.markdown(found))
    results.print_table(found)
    say(f'report: {out.folder / "report" / "report.html"}')


def _check(config: BenchmarkConfig, rows: RowsConfig) -> None:
    for name, knob in (('seed', 'seeds'), ('train_fraction', 'train_fraction')):
        if getattr(rows, name) != getattr(RowsConfig(), name):
            raise UserError(
                f'RowsConfig.{name} is set by the benchmark; use BenchmarkConfig.{knob}'
            )
    for dataset in config.datasets:
        task, _, name = dataset.partition('_')
        if task not in ('acsa', 'atsa') or not name:
            raise UserError(
                f'BenchmarkConfig.datasets: expected acsa_NAME or atsa_NAME; got {dataset!r}'
            )
        if not config.data_dir:
            raise UserError('BenchmarkConfig.data_dir is empty; expected the root of the data')
        dataset_folder(name, config.data_dir, task)
    if not config.vocabulary and '' in (config.models.values() or ['']):
        raise UserError(
            'a model from scratch, or a table of answers alone, needs BenchmarkConfig.vocabulary '
            "(spiece.model); with weights, name them: BenchmarkConfig.models={'t5-base': FOLDER}"
        )


def _system(model: str, fraction: float) -> str:
    return model if fraction == 1 else f'{model}@{fraction:g}'


def _pack(folder: Path, config: BenchmarkConfig) -> dict[str, Path]:
    """{init: packed folder}: one folder for each vocabulary there is."""
    by_hash: dict[str, Path] = {}
    packed = {}
    for init in config.models.values() or ['']:
        if init:
            words = open_model(init).vocabulary
            path = str(Path(init) / 'vocabulary')
        else:
            words, path = (
                Vocabulary.from_config(VocabularyConfig(config.vocabulary)),
                config.vocabulary,
            )
        number = len(by_hash)
        output = by_hash.setdefault(
            words.sha256, folder / (f'packed-{number + 1}' if number else 'packed')
        )
        packed[init] = stages.run_once('pack', _pack_configs(config, words, path), output)
    return packed


def _pack_configs(config: BenchmarkConfig, words: Vocabulary, path: str) -> tuple[Config, ...]:
    pack = PackConfig(
        tasks=tuple(f'fsa_{dataset}' for dataset in config.datasets),
        splits=_SPLITS,
        data_dir=config.data_dir,
        input_length=0,  # the published recipe does not cut benchmark sentences
        target_length=0,
    )
    return pack, words.as_config(path), TrainData()


# ---------------------------------------------------------------------------------------------
# Fine-tuning, the seeds of a cell together


def _groups(
    where: Path, cell: Cell, config: BenchmarkConfig, tuning: Tuning
) -> list[tuple[int, ...]]:
    """The seeds of a cell as groups: those that have begun as they are, the others by memory."""
    begun = [
        tuple(int(seed) for seed in path.name.split('-')[1:])
        for path in sorted(where.glob('seeds-*'))
        if steps(path)
    ]
    left = [seed for seed in config.seeds if not any(seed in group for group in begun)]
    if not left:
        return begun
    train, model, rows, optimizer, mesh, _ = _configs(cell, (), config, tuning)
    partition = Partition.from_config(mesh)
    job = prepare(train, model, rows, optimizer, partition)
    one, free = seeds_memory.seed_bytes(job), seeds_memory.free_bytes()
    sizes = seeds_memory.group_sizes(len(left), one.total, free, partition.mesh.devices.shape[0])
    if config.group:
        sizes = [min(config.group, len(left) - i) for i in range(0, len(left), config.group)]
    why = f'BenchmarkConfig.group={config.group}' if config.group else 'what memory holds'
    say(
        f'{cell.dataset}/{cell.system}: {len(left)} seeds in groups of {sizes}, by {why}: about {one}; '
        f'{free / 1e9:.1f} GB are free'
    )
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return begun + [tuple(left[end - size : end]) for end, size in zip(ends, sizes)]


def _configs(
    cell: Cell, seeds: tuple[int, ...], config: BenchmarkConfig, tuning: Tuning
) -> tuple[TrainConfig, T5Config, RowsConfig, OptimizerConfig, MeshConfig, DecodeConfig]:
    train = TrainConfig(
        data=str(cell.packed),
        tasks=(cell.task,),
        init=cell.init,
        epochs=config.epochs,
        seeds=seeds,
        save_every=0,
        keep=1,
        tensorboard=False,
        compilation_cache=config.compilation_cache,
    )
    model = tuning.model
    if not cell.init:
        model = model.replace(vocab_size=PackedFolder(cell.packed).vocabulary.size)
    rows = tuning.rows.replace(train_fraction=cell.fraction)
    return train, model, rows, tuning.optimizer, tuning.mesh, tuning.decode


def _train(
    where: Path, cell: Cell, seeds: tuple[int, ...], config: BenchmarkConfig, tuning: Tuning
) -> Path:
    folder = where / '-'.join(['seeds', *map(str, seeds)])
    return stages.run_once('train', _configs(cell, seeds, config, tuning), folder)


def _test(
    where: Path, cell: Cell, trained: Path, seed: int, config: BenchmarkConfig, tuning: Tuning
) -> Path:
    predict = PredictConfig(
        model=str(trained),
        seed=seed,
        data=str(cell.packed),
        tasks=(cell.task,),
        compilation_cache=config.compilation_cache,
    )
    given: dict[type, Config] = {type(c): c for c in (predict, tuning.decode, tuning.mesh)}
    every = [given.get(kind) or kind() for kind in stages.STAGES['predict'].configs]
    predictions = stages.run_once('predict', every, where / f'predictions-{seed}')
    return _score(where, cell, predictions, str(seed), config)


def _score_file(where: Path, cell: Cell, path: str, label: str, config: BenchmarkConfig) -> Path:
    """Answers of a file, as if `fsa predict` had written them."""
    folder = where / f'predictions-{label}'
    with (
        contextlib.suppress(manifest.AlreadyDone),
        manifest.output(folder, 'answers', [config]) as out,
    ):
        out.read('BenchmarkConfig.predictions', path)
        out.read('PredictConfig.data', cell.packed)
        store = PackedFolder(cell.packed).store(cell.task, 'test')
        write_jsonl(out.folder / PREDICTIONS, read_answers(Path(path), store))
    return _score(where, cell, folder, label, config)


def _score(where: Path, cell: Cell, predictions: Path, label: str, config: BenchmarkConfig) -> Path:
    score = ScoreConfig(
        predictions=str(predictions),
        baseline_data=str(cell.packed),
        bootstrap=config.resamples,
    )
    return stages.run_once('score', [score], where / f'scores-{label}')


def _report(
    folder: Path, config: BenchmarkConfig, runs: dict[str, Path], scores: dict[str, Path]
) -> None:
    report = ReportConfig(
        title='Fine-grained sentiment analysis: the benchmark',
        runs={name: str(path) for name, path in runs.items()},
        scores={name: str(path) for name, path in scores.items()},
        note=f'{len(config.seeds)} seeds, the best of {config.epochs:g} epochs on dev',
        resamples=config.resamples,
        packed=(config.corpus,) if config.corpus else (),
    )
    stages.run_once('report', [report], folder / 'report')

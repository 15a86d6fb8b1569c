"""Stage 'demo': every stage in a row, on the lab's synthetic world or on a folder of real data.

    world/        reviews, teacher text, benchmark files (synthetic; absent with DemoConfig.data)
    vocabulary/   a SentencePiece vocabulary trained on the world (real data brings its own)
    packed/       the corpus and the benchmark as token stores
    distilled/    the student after distillation
    DATASET/      control-SEED/ and student-SEED/: fine-tuned; predictions-*/ and scores-*/
    report/       report.html and report.md
    export/       the first student as a Hugging Face folder
    results.json  all F1s, with the machine, the knobs and the time of every stage

Each of them is the output of an ordinary stage run, so each is resumed or skipped on its own when
the demo runs again. Control and student differ in one thing: where fine-tuning starts from.
"""

import contextlib
import json
from pathlib import Path

from fsa_jax import manifest, stages
from fsa_jax.configs import (
    DecodeConfig,
    DemoConfig,
    ExportConfig,
    ImportConfig,
    LabConfig,
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
from fsa_jax.errors import UserError
from fsa_jax.lab import results
from fsa_jax.progress import say

CORPUS = 'sentiment_understanding'
_DECODE = DecodeConfig(batch_size=200)  # short sentences: one batch a validation


def run(out: manifest.Output, demo: DemoConfig, lab: LabConfig, model: T5Config) -> None:
    """Runs all stages into `out.folder` and prints the table of F1s."""
    import jax

    folder = out.folder
    data = out.read('DemoConfig.data', demo.data) if demo.data else _world(folder / 'world', lab)
    vocabulary = data / 't5' if demo.data else _vocabulary(folder / 'vocabulary', data, demo)
    corpus, benchmark = _pack(folder / 'packed', data, vocabulary, demo)
    model = _fit_vocabulary(model, corpus)
    distilled = _distil(folder / 'distilled', corpus, model, demo)
    scores = {}
    for dataset in demo.datasets:
        for seed in demo.seeds:
            for system in results.SYSTEMS:
                init = distilled if system == 'student' else None
                where = folder / dataset
                tuned = _fine_tune(
                    where / f'{system}-{seed}', benchmark, dataset, model, demo, seed, init
                )
                scores[f'{dataset}/{system}/seed{seed}'] = _score(
                    where, f'{system}-{seed}', benchmark, dataset, tuned
                )
    _report(folder, demo, distilled, scores)
    exported = _export(folder, demo, scores)
    out.devices = jax.devices()
    found = results.collect(folder, demo, manifest.knobs([demo, lab, model]), out.devices)
    manifest.write_atomic(folder / results.RESULTS, json.dumps(found, indent=1) + '\n')
    results.print_table(found)
    say(f'report: {folder / "report" / "report.html"}')
    say(f'export: {exported}')


def _world(folder: Path, lab: LabConfig) -> Path:
    from fsa_jax.lab.files import write_world

    with (
        contextlib.suppress(manifest.AlreadyDone),
        manifest.output(folder, 'world', [lab]) as out,
    ):
        say(f'--- synthetic reviews and a scripted teacher -> {folder}')
        write_world(out.folder, lab)
    return folder


def _vocabulary(folder: Path, world: Path, demo: DemoConfig) -> Path:
    from fsa_jax.data.vocabulary import train_vocabulary
    from fsa_jax.lab.files import world_texts

    with (
        contextlib.suppress(manifest.AlreadyDone),
        manifest.output(folder, 'vocabulary', [demo]) as out,
    ):
        say(f'--- a vocabulary of {demo.vocabulary_size} pieces -> {folder}')
        train_vocabulary(world_texts(world), demo.vocabulary_size, out.folder)
    return folder


def _pack(folder: Path, data: Path, vocabulary: Path, demo: DemoConfig) -> tuple[Path, Path]:
    words = VocabularyConfig(path=str(vocabulary))
    corpus = PackConfig(
        tasks=(CORPUS,),
        corpus=str(data / 'corpus'),
        data_dir=str(data),
        input_length=demo.input_length,
        target_length=demo.target_length,
    )
    # the published recipe does not cut benchmark sentences
    benchmark = PackConfig(
        tasks=tuple(f'fsa_{dataset}' for dataset in demo.datasets),
        splits=('train', 'validation', 'test'),
        data_dir=str(data),
        input_length=0,
        target_length=0,
    )
    return (
        stages.run_once('pack', [corpus, words, TrainData()], folder / 'corpus'),
        stages.run_once('pack', [benchmark, words, TrainData()], folder / 'benchmark'),
    )


def _fit_vocabulary(model: T5Config, corpus: Path) -> T5Config:
    from fsa_jax.data.store import PackedFolder

    return model.replace(vocab_size=PackedFolder(corpus).vocabulary.size)


def _distil(folder: Path, corpus: Path, model: T5Config, demo: DemoConfig) -> Path:
    train = TrainConfig(
        data=str(corpus), steps=demo.distil_steps, validation_split='', save_every=500, log_every=20
    )
    rows = RowsConfig(
        layout='packed',
        encoder_length=demo.row_encoder_length,
        decoder_length=demo.row_decoder_length,
        batch_size=demo.distil_batch,
    )
    optimizer = OptimizerConfig(
        name='adamw_scale',
        learning_rate=demo.distil_learning_rate,
        schedule='cosine',
        warmup=min(50, demo.distil_steps // 2),
    )
    return stages.run_once('train', [train, model, rows, optimizer, MeshConfig(), _DECODE], folder)


def _fine_tune(folder, benchmark, dataset, model, demo, seed, init: Path | None) -> Path:
    train = TrainConfig(
        data=str(benchmark),
        tasks=(f'fsa_{dataset}',),
        init=str(init or ''),
        epochs=demo.fine_tune_epochs,
        seed=seed,
        save_every=0,
    )
    rows = RowsConfig(
        layout='pairs', buckets=2, batch_size=16, seed=seed, encoder_length=0, decoder_length=0
    )
    optimizer = OptimizerConfig(
        name='adamw',
        learning_rate=demo.fine_tune_learning_rate,
        schedule='linear',
        weight_decay=0.01,
    )
    return stages.run_once('train', [train, model, rows, optimizer, MeshConfig(), _DECODE], folder)


def _score(where: Path, name: str, benchmark: Path, dataset: str, tuned: Path) -> Path:
    predict = PredictConfig(model=str(tuned), data=str(benchmark), tasks=(f'fsa_{dataset}',))
    predictions = stages.run_once(
        'predict', [predict, _DECODE, MeshConfig()], where / f'predictions-{name}'
    )
    score = ScoreConfig(predictions=str(predictions), baseline_data=str(benchmark))
    return stages.run_once('score', [score], where / f'scores-{name}')


def _report(folder: Path, demo: DemoConfig, distilled: Path, scores: dict[str, Path]) -> Path:
    runs = {'distillation': str(distilled)} | {
        f'{dataset}/{system}': str(folder / dataset / f'{system}-{demo.seeds[0]}')
        for dataset in demo.datasets
        for system in results.SYSTEMS
    }
    kind = 'real data' if demo.data else 'synthetic data: a generated world of reviews'
    report = ReportConfig(
        title='With and without distillation',
        runs=runs,
        scores={name: str(path) for name, path in scores.items()},
        note=kind,
    )
    return stages.run_once('report', [report], folder / 'report')


def _export(folder: Path, demo: DemoConfig, scores: dict[str, Path]) -> Path:
    """Exports the first student and reads the export back: weights must be the same, bit for bit."""
    import jax
    import numpy as np

    from fsa_jax.train.checkpoint import open_model

    dataset, seed = demo.datasets[0], demo.seeds[0]
    tuned = folder / dataset / f'student-{seed}'
    score = scores[f'{dataset}/student/seed{seed}']
    exported = stages.run_once(
        'export', [ExportConfig(model=str(tuned), scores=(str(score),))], folder / 'export'
    )
    again = stages.run_once('import', [ImportConfig(folder=str(exported))], folder / 'reimported')
    ours, theirs = (open_model(path).load_params() for path in (tuned, again))
    if not jax.tree.all(jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), ours, theirs)):
        raise UserError(f'{exported} does not hold the weights of {tuned}: the export is wrong')
    say('the export, read back, holds the same weights')
    return exported

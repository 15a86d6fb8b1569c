"""The predict stage: text for every row of a task split, or of a user's own file, in order.

Rows stream through in chunks that are read, decoded and written together (evaluate/prediction_file.py),
so that a killed run goes on where it was.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsa_jax import manifest, progress
from fsa_jax.compilation import cache_programs
from fsa_jax.configs import DecodeConfig, MeshConfig, PredictConfig
from fsa_jax.data.staging import staged
from fsa_jax.data.store import PackedFolder, TokenStore
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.decode import Generator
from fsa_jax.errors import UserError
from fsa_jax.evaluate.constraints import Constraints
from fsa_jax.evaluate.inputs import read_rows
from fsa_jax.evaluate.prediction_file import PredictionFile
from fsa_jax.partition import Partition
from fsa_jax.records import Prediction
from fsa_jax.train.checkpoint import ModelFolder, open_model


@dataclass(frozen=True)
class Row:
    """What is decoded: input ids (none: nothing to decode), and the record to fill in."""

    input_ids: list[int]
    prediction: Prediction


def run(
    out: manifest.Output, config: PredictConfig, decode: DecodeConfig, mesh: MeshConfig
) -> None:
    """Writes predictions.jsonl (records.Prediction), one line a row, in order.

    Raises:
      UserError: neither or both of `data` and `input`, another vocabulary in the packed folder than
        in the model, an unknown task, split or column, an unreadable file, or an output that was
        begun from other inputs.
    """
    if bool(config.data) == bool(config.input):
        raise UserError(
            'predict takes PredictConfig.data (a packed folder) or PredictConfig.input (your own '
            f'file): exactly one; got data={config.data!r}, input={config.input!r}'
        )
    if not config.model:
        raise UserError('PredictConfig.model is empty; expected a model folder of train or import')
    cache_programs(config.compilation_cache)
    source = (
        out.read('PredictConfig.data', staged(config.data, config.staging), config.data)
        if config.data
        else out.read('PredictConfig.input', config.input)
    )
    model = open_model(out.read('PredictConfig.model', config.model))
    if config.data:
        total, rows = _packed_rows(PackedFolder(source), config, decode, model.vocabulary)
    else:
        total, rows = _own_rows(source, config, model.vocabulary)
    constraints = Constraints(model.vocabulary, config.categories) if config.constrained else None
    partition = Partition.from_config(mesh)
    out.devices = partition.mesh.devices.ravel()

    def chunks(first: int) -> Iterator[list[Prediction]]:
        left = itertools.islice(rows, first, None)
        return predict(left, model, config, decode, partition, constraints, first=first)

    with PredictionFile(out) as file:
        file.fill('predict', total, chunks)
    out.counts.update(rows=file.rows, seconds=round(sum(file.seconds.values()), 3), **file.flags)
    if constraints is not None:
        out.counts['spans_not_representable'] = constraints.unrepresentable
    if file.flags:
        flagged = ', '.join(f'{n:,} {flag}' for flag, n in file.flags.items())
        progress.say(f'rows flagged: {flagged}')


def predict(
    rows: Iterable[Row],
    model: ModelFolder,
    config: PredictConfig,
    decode: DecodeConfig,
    partition: Partition,
    constraints: Constraints | None = None,
    *,
    first: int = 0,
) -> Iterator[list[Prediction]]:
    """Predictions of `rows` in order, a chunk at a time; a chunk holds rows of one task.

    `first` is the number of the first row: a sampled text depends on the number of its row and the
    seed, on nothing else. With `constraints` every text is one that its scorer keeps whole.
    """
    generator = Generator(model.config, decode, partition)
    params = model.load_params(config.which, partition.params(model.config), config.seed)
    for chunk in _chunks(rows, config.chunk):
        task = chunk[0].prediction.task
        decoded = [i for i, row in enumerate(chunk) if row.input_ids]
        texts = [''] * len(chunk)
        automata = None
        if constraints is not None:
            sentences = [chunk[i].prediction.sentence for i in decoded]
            automata = constraints.automata(chunk[0].prediction.metric, sentences)
        generated = generator.generate(
            params,
            [chunk[i].input_ids for i in decoded],
            decode.task_max_new_tokens.get(task, decode.max_new_tokens),
            rows=[first + i for i in decoded],
            automata=automata,
        )
        for i, ids in zip(decoded, generated):
            texts[i] = model.vocabulary.decode(ids)
        first += len(chunk)
        yield [
            dataclasses.replace(row.prediction, prediction=text) for row, text in zip(chunk, texts)
        ]


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    for _, same_task in itertools.groupby(rows, key=lambda row: row.prediction.task):
        while chunk := list(itertools.islice(same_task, size)):
            yield chunk


def _cut(input_ids: list[int], length: int) -> tuple[list[int], tuple[str, ...]]:
    """At most `length` ids; a cut keeps the last id, </s>, and is flagged."""
    if len(input_ids) <= length:
        return input_ids, ()
    return [*input_ids[: length - 1], input_ids[-1]], ('truncated',)


# ---------------------------------------------------------------------------------------------
# Where rows come from


def _own_rows(path: Path, config: PredictConfig, vocabulary: Vocabulary):
    """(count, rows) of the user's file. Counting reads all of it, so a broken line shows at once."""
    if config.split != PredictConfig.split or config.tasks:
        raise UserError(
            'PredictConfig.tasks and split choose among a packed folder (PredictConfig.data); '
            'with PredictConfig.input leave them out'
        )
    total = sum(1 for _ in read_rows(path, config.text_field, config.id_field))

    def rows() -> Iterator[Row]:
        for row in read_rows(path, config.text_field, config.id_field):
            input_ids: list[int] = []
            flags = row.flags
            if not flags:
                full = [*vocabulary.encode(row.text), vocabulary.eos_id]
                input_ids, flags = _cut(full, config.input_length)
            yield Row(
                input_ids,
                Prediction(
                    row.id,
                    row.text,
                    '',
                    task=config.task,
                    metric=config.metric,
                    flags=flags,
                    extra=row.extra,
                ),
            )

    return total, rows()


def _packed_rows(
    packed: PackedFolder, config: PredictConfig, decode: DecodeConfig, vocabulary: Vocabulary
):
    """(count, rows) of one split of the packed tasks, task after task."""
    packed.check_vocabulary(vocabulary, config.model)
    packed.check_tasks(decode.task_max_new_tokens)
    stores = packed.stores(config.split, config.tasks).values()
    rows = (row for store in stores for row in _store_rows(store, config.input_length, vocabulary))
    return sum(map(len, stores)), rows


def _store_rows(store: TokenStore, length: int, vocabulary: Vocabulary) -> Iterator[Row]:
    """Rows of a store; the texts of a task without a metric are those of its ids."""
    examples = store.examples() if store.metric else itertools.repeat(None)
    for i, (row_id, example) in enumerate(zip(store.ids(), examples)):
        full, target_ids = (ids.tolist() for ids in store.pair(i))
        input_ids, flags = _cut(full, length)
        prediction = Prediction(
            row_id,
            example.sentence if example else vocabulary.decode(full),
            '',
            task=store.task,
            metric=store.metric,
            gold=example.gold if example else vocabulary.decode(target_ids),
            subsets=example.subsets if example else (),
            flags=flags,
        )
        yield Row(input_ids, prediction)

"""Stage `calibrate`: fits the confidence of a fine-tuned student on a validation split."""

from fsa_jax import manifest, text_format
from fsa_jax.configs import CalibrateConfig
from fsa_jax.data.store import PackedFolder
from fsa_jax.errors import UserError
from fsa_jax.evaluate import f1
from fsa_jax.progress import say
from fsa_jax.student import calibration
from fsa_jax.student.student import Student


def run(out: manifest.Output, config: CalibrateConfig) -> None:
    """Writes calibration.json, a scale for each kind of task ('atsa', 'acsa') of the split.

    An opinion is right where the published scorer finds its pair among the gold ones. The scale is
    fitted on all opinions, and judged on those that it was not fitted on (calibration.fit).
    """
    for name in ('model', 'data'):
        if not getattr(config, name):
            raise UserError(f'CalibrateConfig.{name} is empty; see fsa calibrate --help')
    student = Student.from_pretrained(
        out.read('CalibrateConfig.model', config.model),
        which=config.which,
        seed=config.seed,
        batch_size=config.batch_size,
    )
    student.calibrations = {}
    packed = PackedFolder(out.read('CalibrateConfig.data', config.data))
    packed.check_vocabulary(student.vocabulary, config.model)
    judged: dict[str, list[tuple[float, bool, str]]] = {}
    for store in packed.stores(config.split, config.tasks).values():
        if store.metric:
            task, found = _judged(student, store, config)
            judged.setdefault(task, []).extend(found)
    if not judged:
        raise UserError(f'{config.data} has no task with a metric in its {config.split} split')
    fitted = {
        task: calibration.fit(*zip(*found)) if found else calibration.fit([], [], [])
        for task, found in judged.items()
    }
    manifest.write_atomic(out.folder / calibration.FILE, calibration.to_json(fitted))
    for task, scale in fitted.items():
        out.counts[f'{task}_opinions'] = scale.opinions
        say(
            f'{task}: {scale.right} of {scale.opinions} opinions right; Brier score '
            f'{scale.brier_before:.3f} before, {scale.brier_after:.3f} after, on the half not fitted on'
        )


def _judged(student, store, config) -> tuple[str, list[tuple[float, bool, str]]]:
    """(confidence, right, sentence) of every opinion in the answers to one split."""
    task, polarities = f1.parse_metric(store.metric)
    examples = list(store.examples())
    found = student.extract(
        [e.sentence for e in examples],
        task,
        constrained=config.constrained,
        categories=config.categories,
        polarities=polarities,
    )
    judged = []
    for example, one in zip(examples, found):
        gold = text_format.parse(task, example.gold, example.sentence, polarities).pairs
        for opinion in one.opinions:
            pair = opinion.term or opinion.category, opinion.polarity
            judged.append((opinion.confidence, pair in gold, example.sentence))
    return task, judged

"""`fsa judge export`: answers of several systems for people to rate, without saying whose they are.

    for_raters/ratings.csv         a row for each answer; ratings go into its empty columns
    for_raters/label_studio.json   the same as tasks of Label Studio
    for_raters/label_studio.xml    its labelling config
    key.json                       whose answer each item is: keep it to yourself

Every system answered every review that is drawn. The items of a review stay together, in an order that
is drawn for each review anew.
"""

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from fsa_jax import manifest
from fsa_jax.artifacts import PREDICTIONS, predictions_in
from fsa_jax.configs import JudgeExportConfig
from fsa_jax.corpus.build import place_of
from fsa_jax.data.corpus_files import read_answers
from fsa_jax.errors import UserError
from fsa_jax.records import Prediction, read_jsonl

FOR_RATERS, KEY = 'for_raters', 'key.json'
_MEANINGS = {
    'accuracy': 'are the targets, aspects and sentiments right, and are all there?',
    'reasoning quality': 'does the reasoning follow from the review?',
    'persuasiveness': 'would it convince somebody who has not read the review?',
    'hallucination': 'is everything in the review? Most points: nothing is made up',
}


@dataclass(frozen=True)
class Item:
    """One answer to rate, under a name that tells nothing."""

    name: str
    system: str
    place: int
    review: str
    answer: str


def run(out: manifest.Output, config: JudgeExportConfig) -> None:
    """Draws the reviews and writes what raters get, and the key."""
    if len(config.systems) < 2:
        raise UserError(
            "JudgeExportConfig.systems: expected two or more, {'name': folder}, got "
            f'{len(config.systems)}'
        )
    answers = {
        name: _read(out.read(f'JudgeExportConfig.systems {name}', path), config.kind)
        for name, path in config.systems.items()
    }
    config = config.replace(criteria=config.criteria or tuple(_MEANINGS))
    items = _draw(answers, config)
    folder = out.folder / FOR_RATERS
    folder.mkdir()
    manifest.write_atomic(
        folder / 'ratings.csv', _csv(items, config).encode('utf-8-sig', 'replace')
    )
    tasks = [{'data': {'item': i.name, 'review': i.review, 'answer': i.answer}} for i in items]
    manifest.write_atomic(folder / 'label_studio.json', json.dumps(tasks, indent=1))
    manifest.write_atomic(folder / 'label_studio.xml', _labelling(config))
    key = {
        'criteria': list(config.criteria),
        'points': config.points,
        'items': {i.name: {'system': i.system, 'review': f'{i.place:016x}'} for i in items},
    }
    manifest.write_atomic(out.folder / KEY, json.dumps(key, indent=1) + '\n')
    (out.folder / KEY).chmod(0o600)
    out.counts.update(reviews=len({i.place for i in items}), items=len(items))


def _read(path: Path, kind: str) -> dict[int, tuple[str, str]]:
    """{place of the review: (review, answer)}, the first answer to each review."""
    found: dict[int, tuple[str, str]] = {}
    predictions = predictions_in(path) if path.is_dir() else path
    if predictions.name == PREDICTIONS and predictions.is_file():
        for prediction in read_jsonl(Prediction, predictions):
            pair = (prediction.sentence, prediction.prediction)
            found.setdefault(place_of(prediction.sentence), pair)
        return found
    for answer, review in read_answers(path):
        if answer.kind == kind:
            found.setdefault(place_of(review), (review, answer.output.strip()))
    return found


def _draw(answers: dict[str, dict[int, tuple[str, str]]], config: JudgeExportConfig) -> list[Item]:
    shared = set.intersection(*(set(found) for found in answers.values()))
    if not shared:
        counts = ', '.join(f'{name} {len(found):,}' for name, found in answers.items())
        raise UserError(
            f'no review was answered by all systems (JudgeExportConfig.kind={config.kind!r}; reviews: {counts})'
        )
    drawn = sorted(shared, key=lambda place: _digest(config.seed, 'review', place))[
        : config.reviews
    ]
    items = []
    for place in drawn:
        review = next(iter(answers.values()))[place][0]
        named = sorted((_digest(config.seed, 'item', place, name), name) for name in answers)
        items += [  # named by a letter first: spreadsheets write digits alone as 1.23E+11
            Item(f'i{digest[:12]}', name, place, review, answers[name][place][1])
            for digest, name in named
        ]
    return items


def _digest(*parts: object) -> str:
    return hashlib.sha256('\0'.join(map(str, parts)).encode()).hexdigest()


def _csv(items: list[Item], config: JudgeExportConfig) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(['item', 'review', 'answer', *config.criteria, 'comment'])
    blank = [''] * (len(config.criteria) + 1)
    writer.writerows([i.name, _cell(i.review), _cell(i.answer), *blank] for i in items)
    return text.getvalue()


def _cell(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ('=', '+', '-', '@') else text


def _labelling(config: JudgeExportConfig) -> str:
    """The labelling config of Label Studio: the review, the answer, a rating for each criterion."""
    ratings = '\n'.join(
        f'  <Header size="5" value={quoteattr(_header(name))}/>\n'
        f'  <Rating name={quoteattr(tag(name))} toName="answer" maxRating="{config.points}" required="true"/>'
        for name in config.criteria
    )
    return (
        '<View>\n  <Header value="Review"/>\n  <Text name="review" value="$review"/>\n'
        '  <Header value="Answer"/>\n  <Text name="answer" value="$answer"/>\n'
        f'{ratings}\n  <TextArea name="comment" toName="answer" placeholder="Comment (optional)"/>\n</View>\n'
    )


def _header(name: str) -> str:
    return f'{name.capitalize()}: {_MEANINGS[name]}' if name in _MEANINGS else name.capitalize()


def tag(criterion: str) -> str:
    """The name of a criterion in Label Studio, which takes no blanks."""
    return criterion.replace(' ', '_')

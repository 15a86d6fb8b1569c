"""A user's own labels as the splits of a task: TrainData -> train, validation, test.

Categories and polarities are the user's own. A label that the scorer would drop in silence, however
well a student wrote it, is refused here with file and line. A term passes that the sentence holds and the
vocabulary cannot write as it stands (two spaces, a line end, ½): `fsa predict` with
PredictConfig.constrained counts such spans (`spans_not_representable`).
"""

import random
from dataclasses import dataclass, replace
from pathlib import Path

from fsa_jax.configs import TrainData
from fsa_jax.data import benchmark_files
from fsa_jax.data.label_files import read_label_file
from fsa_jax.errors import UserError, nearest
from fsa_jax.records import POLARITIES, Aspect, Sentence

TASK = 'user_labels'
Located = list[tuple[str, Sentence]]


@dataclass(frozen=True)
class Labels:
    """Labelled sentences by split, and the metric that scores them.

    `metric` is 'acsa' or 'atsa', followed by the polarities where they are not the benchmark's:
    'atsa:bad,good'.
    """

    task: str
    metric: str
    splits: dict[str, list[Sentence]]


def read_labels(config: TrainData) -> Labels:
    """Reads, checks and splits the files of `config`.

    Validation and test sentences come from their own files, else are split off by a seeded
    shuffle; sentences of equal text stay on one side. File order is kept within a split.
    """
    train = _read(config.path, 'path', config)
    files = {
        'validation': (config.validation_path, config.validation_fraction),
        'test': (config.test_path, config.test_fraction),
    }
    splits = {}
    shares = {name: share for name, (path, share) in files.items() if not path and share}
    splits = _split(train, shares, config.seed)
    for name, (path, _) in files.items():
        if path:
            splits[name] = _read(path, f'{name}_path', config)
    if not splits['train']:
        raise UserError(f'TrainData.path={config.path} holds no labelled sentence to train on')
    return Labels(
        config.task,
        _metric(config.task, {a.polarity for _, s in train for a in s.aspects}, splits),
        {name: [sentence for _, sentence in rows] for name, rows in splits.items() if rows},
    )


def subsets(sentence: Sentence) -> tuple[str, ...]:
    """The benchmark's subsets; 'implicit' and 'explicit' only where opinion words are labelled."""
    known = any(aspect.opinion_words is not None for aspect in sentence.aspects)
    names = benchmark_files.subsets(sentence)
    return tuple(n for n in names if known or n not in ('implicit', 'explicit'))


def read_checked(path: Path, config: TrainData) -> Located:
    """('file:line', sentence) of one file, whose labels are such as the scorer keeps."""
    return [
        (where, replace(sentence, aspects=_checked(sentence, config.task, where)))
        for where, sentence in read_label_file(path, config)
    ]


def _read(path: str, knob: str, config: TrainData) -> Located:
    if not Path(path).is_file():
        raise UserError(f'TrainData.{knob}={path}: no such file')
    return read_checked(Path(path), config)


def _checked(sentence: Sentence, task: str, where: str) -> tuple[Aspect, ...]:
    aspects = []
    taken: dict[str, int] = {}  # where to look for a term without offsets
    for aspect in sentence.aspects:
        _check_text(aspect.polarity, 'polarity', ';|,:', where)
        aspect = replace(aspect, polarity=aspect.polarity.strip())  # as the scorer reads it
        if task == 'acsa':
            if not aspect.category:
                raise UserError(
                    f"{where}: a label without category (TrainData.task='atsa' trains on terms)"
                )
            _check_text(aspect.category, 'category', ';|', where)
        elif aspect.target not in (None, '', 'NULL'):
            aspect = _placed(aspect, sentence.sentence, taken, where)
        else:
            aspect = replace(aspect, target=None)  # about the whole sentence: no term to extract
        aspects.append(aspect)
    return tuple(aspects)


def _check_text(text: str, name: str, forbidden: str, where: str) -> None:
    if not text.strip() or any(c in text for c in forbidden):
        raise UserError(
            f'{where}: a {name} may not be empty or hold any of {forbidden!r}; got {text!r}'
        )


def _placed(aspect: Aspect, sentence: str, taken: dict[str, int], where: str) -> Aspect:
    """The aspect with the offsets of its term, found in the sentence where it has none."""
    term = (aspect.target or '').strip()
    _check_text(term, 'term', ';|', where)
    if term not in sentence:
        raise UserError(
            f'{where}: the term {term!r} is not in its sentence {sentence!r:.80} (case counts)'
        )
    if aspect.start is not None:
        return replace(aspect, target=term)
    start = sentence.find(term, taken.get(term, 0))
    start = sentence.find(term) if start < 0 else start
    taken[term] = start + len(term)
    return replace(aspect, target=term, start=start, end=start + len(term))


def _split(rows: Located, shares: dict[str, float], seed: int) -> dict[str, Located]:
    """`rows` cut into 'train' and `shares`, whole groups of equal sentences at a time."""
    texts = list(dict.fromkeys(sentence.sentence for _, sentence in rows))
    random.Random(seed).shuffle(texts)
    side = {}
    for name, share in shares.items():
        size = round(share * len({s.sentence for _, s in rows}))
        side.update(dict.fromkeys(texts[:size], name))
        texts = texts[size:]
    splits: dict[str, Located] = {'train': [], **{name: [] for name in shares}}
    for where, sentence in rows:
        splits[side.get(sentence.sentence, 'train')].append((where, sentence))
    return splits


def _metric(task: str, known: set[str], splits: dict[str, Located]) -> str:
    """The metric of polarities `known` from the training file, and of what the benchmark has beside."""
    used = {a.polarity: where for rows in splits.values() for where, s in rows for a in s.aspects}
    for polarity, where in used.items():
        if polarity not in known and polarity not in POLARITIES:
            raise UserError(
                f'{where}: unknown polarity {polarity!r}{nearest(polarity, known)}; the training '
                f'file has {", ".join(sorted(known))}'
            )
    own = sorted(used)
    return task if set(own) <= set(POLARITIES) else f'{task}:{",".join(own)}'

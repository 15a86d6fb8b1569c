"""The FSA benchmark datasets as published: `<root>/fsa/<task>/<dataset>/<file>.json`.

Survives what the published files hold: a BOM, offsets that are strings, ints or null, targets that
are 'NULL' or null, a null category, opinion words that are a string, a list, null or absent, and
sentences with no aspects. HTML entities and U+00A0 stay as they are: they are part of the texts.
"""

import os
from pathlib import Path
from typing import Any, Literal

from fsa_jax.data.json_records import read_json_records
from fsa_jax.errors import UserError, nearest
from fsa_jax.records import POLARITIES, Aspect, Sentence

DATASETS: dict[str, Literal['acsa', 'atsa']] = {
    'rest16': 'acsa',
    'laptop16': 'acsa',
    'rest14': 'atsa',
    'laptop14': 'atsa',
}
SPLIT_FILES = {
    'train': ('train',),
    'validation': ('dev',),
    'test': ('test', 'hard_test'),  # the evaluated test set: one after the other
}
SPLITS = (*SPLIT_FILES, 'test_implicit', 'test_multiple', 'test_explicit')


def named_root(data_dir: str | Path = '') -> str:
    """`data_dir`, else the environment's FSA_DATA_DIR; empty where neither names a root."""
    return str(data_dir) or os.environ.get('FSA_DATA_DIR', '')


def data_root(data_dir: str | Path = '') -> Path:
    """The root of the benchmark data; UserError where none is named, or it is not there."""
    root = named_root(data_dir)
    if not root:
        raise UserError(
            'no benchmark data: set PackConfig.data_dir or FSA_DATA_DIR to the folder that holds '
            'fsa/acsa and fsa/atsa (`fsa download` fetches them)'
        )
    if not Path(root).is_dir():
        raise UserError(
            f'{root} is not a folder; expected the root of the benchmark data '
            '(PackConfig.data_dir or FSA_DATA_DIR)'
        )
    return Path(root)


def datasets(data_dir: str | Path = '') -> list[tuple[str, str]]:
    """(task, dataset) of the published four, and of others that lie beside them.

    Any folder `<root>/fsa/{acsa,atsa}/<dataset>` with a train.json is a dataset. Without a root
    (neither `data_dir` nor FSA_DATA_DIR) there are the four.
    """
    known = [(task, dataset) for dataset, task in DATASETS.items()]
    root = named_root(data_dir)
    found = Path(root).glob('fsa/a[ct]sa/*/train.json') if root else []
    folders = sorted((path.parent.parent.name, path.parent.name) for path in found)
    return known + [pair for pair in folders if pair not in known]


def dataset_folder(dataset: str, data_dir: str | Path = '', task: str = '') -> Path:
    """The folder of one dataset: `<root>/fsa/<task>/<dataset>`, or the same without `fsa`.

    `task` ('acsa' or 'atsa') is needed for a dataset that is not one of the published four.
    """
    if not task and dataset not in DATASETS:
        choices = ', '.join(DATASETS)
        raise UserError(
            f'no dataset {dataset!r}; expected one of {choices}{nearest(dataset, DATASETS)}'
        )
    task = task or DATASETS[dataset]
    root = data_root(data_dir)
    for folder in (root / 'fsa', root):
        if (folder / task / dataset).is_dir():
            return folder / task / dataset
    raise UserError(
        f'{root} has no fsa/{task}/{dataset}: set PackConfig.data_dir or FSA_DATA_DIR '
        f'to the root of the benchmark data, or run `fsa download`'
    )


def split_files(dataset: str, split: str, data_dir: str | Path = '', task: str = '') -> list[Path]:
    """The files that hold a split; a split 'test_<subset>' lies in those of 'test'."""
    if split not in SPLITS:
        raise UserError(f'no split {split!r}; expected one of {", ".join(SPLITS)}')
    folder = dataset_folder(dataset, data_dir, task)
    return [folder / f'{name}.json' for name in SPLIT_FILES[split.split('_')[0]]]


def read_split(
    dataset: str, split: str, data_dir: str | Path = '', task: str = ''
) -> list[Sentence]:
    """The sentences of a split, in file order; 'test' is test followed by hard_test."""
    files = split_files(dataset, split, data_dir, task)
    sentences = [s for path in files for s in read_sentences(path)]
    subset = split.partition('_')[2]
    return [s for s in sentences if not subset or subset in subsets(s)]


def read_sentences(path: str | Path) -> list[Sentence]:
    """All records of one file; UserError names file and line of the first bad one."""
    return [to_sentence(record, where) for where, record in read_json_records(path)]


def to_sentence(record: dict[str, Any], where: str) -> Sentence:
    """A JSON record of the published form; `where` ('file:line') opens the error."""
    text = _field(record, 'sentence', where)
    if not isinstance(text, str):
        raise UserError(f"{where}: 'sentence' must be text, got {text!r}")
    aspects = _field(record, 'aspects', where)
    if not isinstance(aspects, list) or not all(isinstance(a, dict) for a in aspects):
        raise UserError(f"{where}: 'aspects' must be a list of objects, got {aspects!r:.80}")
    return Sentence(
        id=str(_field(record, 'ID', where)),
        sentence=text,
        aspects=tuple(_aspect(aspect, where) for aspect in aspects),
    )


def subsets(sentence: Sentence) -> tuple[str, ...]:
    """The subsets of the evaluated test set that a sentence belongs to, 'normal' (all) first.

    'implicit': any aspect without opinion words; 'explicit': at least one aspect and not implicit;
    'multiple': more than one polarity over all aspects, those without a target too.
    """
    implicit = any(not aspect.opinion_words for aspect in sentence.aspects)
    multiple = len({aspect.polarity for aspect in sentence.aspects}) > 1
    names = ['normal']
    if sentence.aspects:
        names.append('implicit' if implicit else 'explicit')
    if multiple:
        names.append('multiple')
    return tuple(names)


def _aspect(record: dict[str, Any], where: str) -> Aspect:
    polarity = _field(record, 'polarity', where)
    if polarity not in POLARITIES:
        choices = ', '.join(POLARITIES)
        raise UserError(
            f'{where}: unknown polarity {polarity!r}; expected one of {choices}'
            f'{nearest(str(polarity), POLARITIES)}'
        )
    target, category = (_optional_text(record, name, where) for name in ('target', 'category'))
    return Aspect(
        target=target,
        category=category,
        polarity=polarity,
        start=_offset(record, 'from', where),
        end=_offset(record, 'to', where),
        opinion_words=record.get('opinion_words'),
    )


def _field(record: dict[str, Any], name: str, where: str) -> Any:
    if name not in record:
        raise UserError(f'{where}: missing field {name!r}{nearest(name, record)}')
    return record[name]


def _optional_text(record: dict[str, Any], name: str, where: str) -> str | None:
    value = _field(record, name, where)
    if value is not None and not isinstance(value, str):
        raise UserError(f'{where}: {name!r} must be text or null, got {value!r}')
    return value


def _offset(record: dict[str, Any], name: str, where: str) -> str | int | None:
    value = record.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and value.isdigit():
        return value
    raise UserError(f'{where}: {name!r} must be a whole number, its text or null, got {value!r}')

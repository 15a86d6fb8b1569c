"""Teacher answers on disk, in every published form and in our own, as records.Generation.

A corpus is a file or a folder of .json and .jsonl files (searched through, in order of their paths):

* our own forms: JSON lines of records.Generation (`fsa teach`) or records.CorpusExample (`fsa
  corpus`), in `train*.jsonl`, `validation*.jsonl`, …;
* the published 100 files, `{analysis,rewrite}/…/{restaurant,computer}/<name>.json`: the path within
  the corpus tells the kind of prompt of records that do not name their own;
* published answers in single files: an analysis starts with `Opinion Target 1:`, the rest are
  rewritings.

Published records hold the review (`Text` or `input_text`), the answer (`<teacher>_response` or
`output_text`) and perhaps `ID`, `Overall` (stars) and a `prompt`, which goes before the review.
Files named train, validation (or dev) and test are splits; without a validation file a fixed share
of the reviews is split off by the hash of the review, so both answers to it fall on one side.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsa_jax import manifest
from fsa_jax.data.benchmark_files import data_root, named_root
from fsa_jax.data.json_records import read_json_records, without_halves
from fsa_jax.data.shards import check_shards
from fsa_jax.errors import UserError
from fsa_jax.records import CorpusExample, Generation, from_values

EXAMPLES = 'data'  # folder of the examples in an output of `fsa corpus`
KINDS = ('analysis', 'rewriting')
SPLITS = ('train', 'validation', 'test')
_REVIEWS = ('Text', 'input_text')
_SAME = (  # of a CorpusExample
    'id', 'kind', 'input', 'domain', 'rating', 'teacher', 'prompt_hash', 'prompt',
)  # fmt: skip
_FOLDER_KINDS = {'analysis': 'analysis', 'rewrite': 'rewriting', 'rewriting': 'rewriting'}
_SPLIT_NAME = re.compile(r'(train|validation|dev|test)(?![a-z])')
_TEXTS = ('input', 'output', 'prompt')  # of a Generation
_DOMAINS = ('restaurant', 'computer')
_PUBLISHED = re.compile(
    rf'/(?P<kind>analysis|rewrite)/(?:.*/)?(?P<domain>{"|".join(_DOMAINS)})/[^/]+$'
)


def corpus_root(corpus: str | Path = '', data_dir: str | Path = '') -> Path:
    """`corpus`, else the folder `corpus` under the data root (PackConfig.data_dir, FSA_DATA_DIR)."""
    knob = 'set PackConfig.corpus to a file or folder of them'
    if not str(corpus) and not named_root(data_dir):
        raise UserError(f'no teacher answers: {knob}')
    path = Path(corpus) if str(corpus) else data_root(data_dir) / 'corpus'
    if not path.exists():
        raise UserError(f'no teacher answers at {path}; {knob}')
    return path


def corpus_files(path: Path) -> dict[str, list[Path]]:
    """The files of each split that the names of the files tell; others belong to 'train'.

    Of an output of `fsa corpus` those are the files in its folder `data`. Raises UserError when the
    folder holds outputs of `fsa teach` that are not a whole job.
    """
    if (path / manifest.MANIFEST).is_file() and (path / EXAMPLES).is_dir():
        path = path / EXAMPLES
    check_shards(path)
    files = (
        sorted(f for f in path.rglob('*') if _holds_answers(f, path)) if path.is_dir() else [path]
    )
    if not files:
        raise UserError(f'{path} holds no .json or .jsonl files of teacher answers')
    splits: dict[str, list[Path]] = {}
    for file in files:
        name = _SPLIT_NAME.match(file.stem) if path.is_dir() else None
        split = {'dev': 'validation'}.get(name[1], name[1]) if name else 'train'
        splits.setdefault(split, []).append(file)
    return splits


def split_names(path: Path, validation_fraction: float = 0.01) -> list[str]:
    """The splits of a corpus, those that `read_generations` splits off among them."""
    files = corpus_files(path)
    made = {'train', 'validation'} if validation_fraction else {'train'}
    return [split for split in SPLITS if split in files or split in made]


def read_generations(
    path: str | Path, split: str = 'train', kind: str = '', validation_fraction: float = 0.01
) -> Iterator[Generation]:
    """The answers of one split and (unless empty) one prompt kind, streamed in file order.

    `validation_fraction` is the share of reviews that make up 'validation' where no file does.
    Raises UserError with file and line for a record that is none of the known forms.
    """
    path = Path(path)
    files = corpus_files(path)
    made = validation_fraction > 0 and 'validation' not in files
    hashed = made and split in ('train', 'validation')
    for generation, review in _read(files.get('train' if hashed else split, []), path, kind):
        if not hashed or (split == 'validation') == _held_out(review, validation_fraction):
            yield generation


def read_answers(path: str | Path) -> Iterator[tuple[Generation, str]]:
    """(answer, review) of every answer of all splits: the review without the prompt before it."""
    path = Path(path)
    for files in corpus_files(path).values():
        yield from _read(files, path)


def _read(files: list[Path], root: Path, kind: str = '') -> Iterator[tuple[Generation, str]]:
    for file in files:
        told_kind, domain = _told_by_path(file, root)
        other = bool(kind and told_kind) and told_kind != kind
        for where, record in read_json_records(file):
            if other and not record.get('kind'):
                if domain:  # the published layout: no record of the file names its kind
                    break
                continue
            generation = to_generation(record, where, told_kind, domain)
            if not kind or generation.kind == kind:
                yield generation, generation.review


def to_generation(
    record: dict[str, Any], where: str, kind: str = '', domain: str = ''
) -> Generation:
    """A record of any known form; `kind` and `domain` are what its path tells.

    Its texts can be written as UTF-8 (`without_halves`).
    """
    if 'input' in record and 'output' in record:
        return _own(record, where, kind, domain)
    if 'input' in record and 'target' in record:
        example = from_values(CorpusExample, record, where)
        same = {name: getattr(example, name) for name in _SAME}
        return _own(same | {'output': example.target}, where, kind, domain)
    answers = [k for k in record if k == 'output_text' or k.endswith('_response')]
    reviews = [k for k in _REVIEWS if k in record]
    if len(answers) != 1 or len(reviews) != 1:
        raise UserError(
            f"{where}: missing field: expected 'Text' or 'input_text' and one of 'output_text', "
            f"'<teacher>_response', or 'input' and 'output'; got {', '.join(record)}"
        )
    answer, review = _text(record, answers[0], where), _text(record, reviews[0], where)
    prompt = _text(record, 'prompt', where) if 'prompt' in record else ''
    return Generation(
        id=str(record.get('ID', where.rpartition('/')[2])),
        kind=_kind(record, kind, answer, where),
        input=prompt + review,
        output=answer,
        domain=domain,
        rating=_stars(record, 'Overall', where),
        teacher=answers[0].removeprefix('extracted_').partition('_')[0]
        if answers[0] != 'output_text'
        else '',
        prompt=prompt,
    )


def _own(record: dict[str, Any], where: str, kind: str, domain: str) -> Generation:
    texts = {
        name: without_halves(record[name]) for name in _TEXTS if isinstance(record.get(name), str)
    }
    values = {
        'domain': domain,
        **record,
        **texts,
        'id': str(record.get('id', where.rpartition('/')[2])),
        'kind': _kind(record, kind, _text(record, 'output', where), where),
        'rating': _stars(record, 'rating', where),
    }
    return from_values(Generation, values, where)


def _text(record: dict[str, Any], name: str, where: str) -> str:
    if not isinstance(record[name], str):
        raise UserError(f'{where}: {name!r} must be text, got {record[name]!r:.80}')
    return without_halves(record[name])


def _stars(record: dict[str, Any], name: str, where: str) -> float | None:
    stars = record.get(name)
    try:
        return None if stars is None else float(stars)
    except (TypeError, ValueError):
        raise UserError(f'{where}: {name!r} must be a number of stars, got {stars!r}') from None


def _kind(record: dict[str, Any], told: str, answer: str, where: str) -> str:
    """The kind that the record names, else the one its path tells, else that of its answer."""
    of_answer = 'analysis' if answer.lstrip().startswith('Opinion Target 1:') else 'rewriting'
    named = record.get('kind') or told or of_answer
    if named not in KINDS:
        raise UserError(f"{where}: 'kind' must be one of {', '.join(KINDS)}; got {named!r}")
    return named


def _told_by_path(file: Path, root: Path) -> tuple[str, str]:
    """(kind, domain) of the published layout, or of a folder's first level; else empty."""
    published = _PUBLISHED.search(_within(file, root))
    if published:
        return _FOLDER_KINDS[published['kind']], published['domain']
    first = file.relative_to(root).parts[0] if root.is_dir() else ''
    return _FOLDER_KINDS.get(first, ''), ''


def _within(file: Path, root: Path) -> str:
    """The part of a path that may tell: from the corpus's own folder on.

    Of a corpus that is one domain's folder, the layout's last level, the two folders above it too:
    further up lie the user's own folders, whose names tell nothing.
    """
    folder = root if root.is_dir() else root.parent
    own = folder.resolve()
    above = own.parts[-3:] if own.name in _DOMAINS else own.parts[-1:]
    return '/'.join(('', *above, file.relative_to(folder).as_posix()))


def _holds_answers(file: Path, root: Path) -> bool:
    folders = file.relative_to(root).parts
    hidden = any(part.startswith('.') for part in folders) or 'set_aside' in folders
    named = file.suffix in ('.json', '.jsonl') and file.name != 'manifest.json'
    return named and not hidden and file.is_file()


def _held_out(text: str, fraction: float) -> bool:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], 'big') < fraction * 2**64

"""Labelled sentences from a user's own file: JSON(L), CSV, ASQP, ACOS, SemEval XML or Label Studio.

Each reader yields ('file:line', Sentence). A label is an opinion about a term or a category:

* JSON: a list of objects (`target` or `term`, `category`, `polarity` or `sentiment`, perhaps `from`
  and `to`), a list of pairs, or text as CSV holds it;
* CSV: `battery | positive ; screen | negative`, the form of the student's own output;
* ASQP and ACOS text (quad_files.py): a sentence a line, with its quadruples;
* SemEval XML: `aspectTerm` and `aspectCategory` (2014), `Opinion` (2015, 2016);
* Label Studio (JSON, not JSON-MIN): a labelled span is a term, its label the polarity; a choice on
  that span is the polarity and the label then the category; a choice on the whole text is
  `category | polarity`. The ground truth counts, else the first annotation that was submitted.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from fsa_jax.configs import TrainData
from fsa_jax.data import quad_files
from fsa_jax.data.json_records import check_encoding, read_json_records
from fsa_jax.data.tables import read_csv
from fsa_jax.errors import UserError, nearest
from fsa_jax.records import Aspect, Sentence

Located = Iterator[tuple[str, Sentence]]
_SUFFIXES = {
    '.jsonl': 'jsonl',
    '.json': 'jsonl',
    '.csv': 'csv',
    '.tsv': 'csv',
    '.xml': 'semeval',
}


def read_label_file(path: Path, config: TrainData) -> Located:
    """The labelled sentences of one file, in order; UserError names the place of a bad one."""
    check_encoding(path)
    name = config.format if config.format != 'auto' else _guess(path)
    return _READERS[name](path, config)


def _guess(path: Path) -> str:
    name = _SUFFIXES.get(path.suffix.lower())
    if path.suffix.lower() in ('.txt', '.tsv'):
        name = quad_files.guess(path) or name
    if name is None:
        raise UserError(
            f'{path}: cannot tell the form of a {path.suffix or "nameless"} file; expected '
            f'{", ".join(_SUFFIXES)}, ASQP or ACOS text, or set TrainData.format'
        )
    if name == 'jsonl':
        _, first = next(read_json_records(path), ('', {}))
        return 'label_studio' if 'annotations' in first and 'data' in first else name
    return name


# ---------------------------------------------------------------------------------------------
# JSON and CSV


def _json(path: Path, config: TrainData) -> Located:
    return _labelled(read_json_records(path), config)


def _csv(path: Path, config: TrainData) -> Located:
    rows = read_csv(path, delimiter='\t' if path.suffix.lower() == '.tsv' else ',')
    return _labelled(rows, config)


def _labelled(records: Iterable[tuple[str, dict[str, Any]]], config: TrainData) -> Located:
    for row, (where, record) in enumerate(records):
        text = _column(record, config.text_field, 'text_field', where)
        labels = _column(record, config.label_field, 'label_field', where)
        yield where, _sentence(_id(record, row), text, _labels(labels, config, where), where)


def _id(record: dict[str, Any], row: int) -> str:
    return str(record.get('id', record.get('ID', row)))


def _column(record: dict[str, Any], name: str, knob: str, where: str) -> Any:
    if name not in record:
        raise UserError(
            f'{where}: missing field {name!r}{nearest(name, record)}; found '
            f'{", ".join(map(str, record))} (TrainData.{knob})'
        )
    return record[name]


def _labels(labels: Any, config: TrainData, where: str) -> list[Aspect]:
    if isinstance(labels, str):
        return [_from_text(part, config, where) for part in labels.split(';') if part.strip()]
    if labels is None:
        return []
    if not isinstance(labels, list):
        raise UserError(
            f"{where}: {config.label_field!r} must be a list or 'term | polarity ; …' text, got "
            f'{labels!r:.80}'
        )
    return [_from_json(label, config, where) for label in labels]


def _from_text(part: str, config: TrainData, where: str) -> Aspect:
    fields = [field.strip() for field in part.split('|')]
    if len(fields) != 2:
        kind = 'category' if config.task == 'acsa' else 'term'
        raise UserError(f"{where}: expected '{kind} | polarity', got {part.strip()!r}")
    return _pair(fields[0], fields[1], config)


def _pair(name: str, polarity: str, config: TrainData) -> Aspect:
    if config.task == 'acsa':
        return Aspect(None, name, polarity)
    return Aspect(name, None, polarity)


def _from_json(label: Any, config: TrainData, where: str) -> Aspect:
    if isinstance(label, str):
        return _from_text(label, config, where)
    if isinstance(label, list) and len(label) == 2 and all(isinstance(x, str) for x in label):
        return _pair(label[0], label[1], config)
    if not isinstance(label, dict):
        raise UserError(f'{where}: expected a label with a polarity, got {label!r:.80}')
    polarity = label.get('polarity', label.get('sentiment'))
    if not isinstance(polarity, str):
        raise UserError(f"{where}: missing field 'polarity' in the label {label!r:.80}")
    target, category = label.get('target', label.get('term')), label.get('category')
    if not all(text is None or isinstance(text, str) for text in (target, category)):
        raise UserError(f'{where}: a term and a category must be text; got {label!r:.80}')
    return Aspect(
        target=target,
        category=category,
        polarity=polarity,
        start=_offset(label.get('from', label.get('start')), where),
        end=_offset(label.get('to', label.get('end')), where),
        opinion_words=label.get('opinion_words'),
    )


# ---------------------------------------------------------------------------------------------
# SemEval XML


def _semeval(path: Path, config: TrainData) -> Located:
    found: list[tuple[str, Sentence]] = []
    text: list[str] = []
    aspects: list[Aspect] = []
    state = {'id': '', 'where': '', 'in_text': False, 'labelled': False}
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(name: str, values: dict[str, str]) -> None:
        where = f'{path}:{parser.CurrentLineNumber}'
        if name == 'sentence':
            text.clear()
            aspects.clear()
            state.update(id=values.get('id', str(len(found))), where=where)
        elif name == 'text':
            state['in_text'] = True
        elif name in _SEMEVAL[config.task]:
            state['labelled'] = True
            aspects.append(_from_xml(values, where))

    def end(name: str) -> None:
        if name == 'text':
            state['in_text'] = False
        elif name == 'sentence':
            where = str(state['where'])
            found.append((where, _sentence(str(state['id']), ''.join(text), list(aspects), where)))

    def characters(data: str) -> None:
        if state['in_text']:
            text.append(data)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise UserError(f'{path}:{error.lineno}: broken XML, {error}') from None
    if not state['labelled']:
        wanted = ' or '.join(_SEMEVAL[config.task])
        raise UserError(
            f'{path}:1: no {wanted} among its {len(found)} sentences (TrainData.task={config.task!r})'
        )
    yield from found


_SEMEVAL = {'atsa': ('aspectTerm', 'Opinion'), 'acsa': ('aspectCategory', 'Opinion')}


def _from_xml(values: dict[str, str], where: str) -> Aspect:
    if 'polarity' not in values:
        raise UserError(f"{where}: missing attribute 'polarity' (an unlabelled test file?)")
    return Aspect(
        target=values.get('term', values.get('target')),
        category=values.get('category'),
        polarity=values['polarity'],
        start=_offset(values.get('from'), where),
        end=_offset(values.get('to'), where),
    )


# ---------------------------------------------------------------------------------------------
# Label Studio


def _label_studio(path: Path, config: TrainData) -> Located:
    for row, (where, record) in enumerate(read_json_records(path)):
        data = _column(record, 'data', 'format', where)
        annotations = _column(record, 'annotations', 'format', where)
        try:
            annotation = _that_counts(annotations)
            if annotation is None:
                continue  # nobody labelled this one: not the same as a sentence with no opinions
            name = config.text_field if config.text_field in data else 'text'
            text = _column(data, name, 'text_field', where)
            aspects = _regions(annotation['result'], config, where)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UserError(
                f'{where}: not a region of labels or choices as Label Studio writes them: '
                f'{type(error).__name__} {error}'
            ) from None
        yield where, _sentence(_id(record, row), text, aspects, where)


def _that_counts(annotations: list[dict[str, Any]]) -> dict[str, Any] | None:
    submitted = [a for a in annotations if not a.get('was_cancelled')]
    return next((a for a in submitted if a.get('ground_truth')), next(iter(submitted), None))


def _regions(results: list[dict[str, Any]], config: TrainData, where: str) -> list[Aspect]:
    spans = {r['id']: r['value'] for r in results if r['type'] == 'labels'}
    choices = [r for r in results if r['type'] == 'choices']
    polarity_of = {c.get('id'): c['value']['choices'][0] for c in choices if c.get('id') in spans}
    aspects = []
    for region, value in spans.items():
        label, polarity = value['labels'][0], polarity_of.get(region)
        aspects.append(
            Aspect(
                target=value.get('text'),
                category=label if polarity else None,
                polarity=polarity or label,
                start=_offset(value.get('start'), where),
                end=_offset(value.get('end'), where),
            )
        )
    for choice in choices:
        if choice.get('id') not in spans:
            aspects += [_from_text(text, config, where) for text in choice['value']['choices']]
    return aspects


# ---------------------------------------------------------------------------------------------


def _offset(value: Any, where: str) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f'{where}: an offset must be a whole number, got {value!r}') from None


def _sentence(id: str, text: Any, aspects: Iterable[Aspect], where: str) -> Sentence:
    if not isinstance(text, str) or not text.strip():
        raise UserError(f'{where}: expected the text of a sentence, got {text!r}')
    return Sentence(id, text, tuple(aspects))


_READERS: dict[str, Callable[[Path, TrainData], Located]] = {
    'jsonl': _json,
    'csv': _csv,
    'semeval': _semeval,
    'asqp': lambda path, config: quad_files.read_asqp(path),
    'acos': lambda path, config: quad_files.read_acos(path),
    'label_studio': _label_studio,
}

"""README.md of an exported model: how to use it, its data, config and scores, from the manifests."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from fsa_jax import configs, manifest
from fsa_jax.artifacts import SCORES
from fsa_jax.configs import T5Config
from fsa_jax.errors import UserError
from fsa_jax.train.checkpoint import ModelFolder
from fsa_jax.urls import public

_COLUMNS = ('f1', 'precision', 'recall', 'strict_f1')
_USE = """\
```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained('{name}')
model = AutoModelForSeq2SeqLM.from_pretrained('{name}')
text = 'The pasta was great, but we waited an hour.'
ids = model.generate(**tokenizer(text, return_tensors='pt'), max_new_tokens=99)
print(tokenizer.decode(ids[0], skip_special_tokens=True))
```
"""


def model_card(name: str, model: ModelFolder, step: int, scores: tuple[str, ...]) -> str:
    """The text of README.md for the checkpoint `step` of a model folder and its score folders.

    Paths are shown by their last part alone. UserError where scores are of another model.
    """
    entries = [entry for folder in scores for entry in _scored(Path(folder), model.folder)]
    sections = [
        f'---\n{_front_matter(name, entries)}\n---\n',
        f'# {name}\n',
        f'{_about(model)}\n',
        _USE.format(name=name),
        f'## Scores\n\n{_score_table(entries)}',
        f'## Training and data\n\nCheckpoint of step {step}.\n\n{_lineage(model.folder)}',
        f'## Architecture\n\n{_knobs(model.config)}',
    ]
    return '\n'.join(sections)


def _about(model: ModelFolder) -> str:
    made = 'A T5 model, exported with fsa_jax.'
    if 'train' in _stages(model.folder):
        made = 'A T5 student for fine-grained sentiment analysis, trained with fsa_jax.'
    if model.vocabulary.newline_id is None:
        return made
    return f'{made} A newline in a text is the token `[NL]`: write `text.replace("\\n", "[NL]")`.'


def _front_matter(name: str, entries: list[tuple[str, str, dict[str, Any]]]) -> str:
    results = [
        EvalResult(
            task_type='text2text-generation',
            dataset_type=task,
            dataset_name=task,
            metric_type='f1',
            metric_name=f'micro F1 ({subset})',
            metric_value=round(values['f1'], 4),
        )
        for task, subset, values in entries
    ]
    data = ModelCardData(
        language='en',
        library_name='transformers',
        pipeline_tag='text2text-generation',
        tags=['t5', 'sentiment-analysis', 'aspect-based-sentiment-analysis', 'distillation'],
        model_name=name,
        eval_results=results or None,
    )
    return data.to_yaml()


def _scored(folder: Path, model: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(task, subset, values) of a score folder."""
    path = folder / SCORES
    if not path.is_file():
        raise UserError(f'ExportConfig.scores: {folder} has no {SCORES}; is it of `fsa score`?')
    for entry in _inputs(folder):
        if entry['name'].endswith('model') and entry['sha256'] != manifest.digest(model):
            raise UserError(
                f'ExportConfig.scores: {folder} scores the model {entry["path"]}, which is not '
                f'ExportConfig.model={model} as it is now'
            )
    for task, entry in json.loads(path.read_text(encoding='utf-8'))['tasks'].items():
        for subset, values in entry.get('subsets', {}).items():
            yield task, subset, values


def _inputs(folder: Path) -> Iterator[dict[str, str]]:
    """What a score folder was made from, as far as manifests tell: predictions, then the model."""
    content = manifest.find(folder)
    for name, entry in content['inputs'].items() if content else ():
        yield {'name': name, **entry}
        if name.endswith('predictions'):
            yield from _inputs(Path(entry['path']))


def _score_table(entries: list[tuple[str, str, dict[str, Any]]]) -> str:
    if not entries:
        return 'Not measured.\n'
    lines = [
        'Micro F1, percent, as the published scorer counts; strict: one-to-one, malformed is wrong.\n',
        '| task | subset | sentences | F1 | 95 % | precision | recall | strict F1 |',
        '|---|---|--:|--:|---|--:|--:|--:|',
    ]
    for task, subset, values in entries:
        f1, precision, recall, strict = (f'{100 * values[c]:.2f}' for c in _COLUMNS)
        interval = '-'.join(f'{100 * v:.1f}' for v in values.get('f1_interval', ()))
        cells = (task, subset, values['sentences'], f1, interval, precision, recall, strict)
        lines.append(f'| {" | ".join(map(str, cells))} |')
    return '\n'.join(lines) + '\n'


def _lineage(folder: Path, depth: int = 0) -> str:
    """The stages behind a folder, newest first: inputs with their hashes, and knobs that were set."""
    content = manifest.find(folder)
    if content is None:
        return '' if depth else 'The run had not finished: no manifest.\n'
    lines = [f'### {content["stage"]}: {folder.name}\n']
    for name, entry in content['inputs'].items():
        lines.append(f'* {name}: `{Path(entry["path"]).name}`, sha256 `{entry["sha256"][:16]}`')
    for name, value in content['counts'].items():
        lines.append(f'* {name}: {value}')
    changed = {k: v for k, v in content['knobs'].items() if v != _default(k)}
    lines += [f'* `{name} = {_shown(value)}`' for name, value in changed.items()]
    before = [_lineage(Path(e['path']), depth + 1) for e in content['inputs'].values()]
    return '\n'.join(lines) + '\n' + ''.join(f'\n{text}' for text in before if text)


def _stages(folder: Path) -> set[str]:
    """The stages behind a folder, as far as manifests tell."""
    content = manifest.find(folder)
    if content is None:
        return set()
    before = (_stages(Path(entry['path'])) for entry in content['inputs'].values())
    return {content['stage']}.union(*before)


def _default(knob: str) -> Any:
    kind, _, name = knob.partition('.')
    value = getattr(getattr(configs, kind)(), name, None)  # None: a knob of an earlier version
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    """A knob's value; of a path or URL its last part, for the rest is the author's own machine."""
    if isinstance(value, str) and '/' in value:
        _, scheme, rest = public(value).rpartition('://')
        value = Path(rest.partition('/')[2] if scheme else rest).name or '…'
    elif isinstance(value, list):
        return '[' + ', '.join(_shown(v) for v in value) + ']'
    return repr(value)


def _knobs(config: T5Config) -> str:
    fields = (field.name for field in dataclasses.fields(config) if not field.metadata['free'])
    rows = (f'| {name} | {getattr(config, name)} |' for name in fields)
    return '\n'.join(['| T5Config | |', '|---|---|', *rows]) + '\n'

"""The quality report as files: quality.json, quality.md, and quality.html, which needs nothing beside it."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from fsa_jax import manifest
from fsa_jax.configs import CorpusConfig
from fsa_jax.corpus import filters, parse, rates, rewriting
from fsa_jax.corpus.compare import QUALITY
from fsa_jax.corpus.quality import SILENT
from fsa_jax.records import SENTIMENT_LEVELS

_TITLES = {'analysis': 'Analyses', 'rewriting': 'Rewritings'}


def write(
    folder: Path,
    quality: Mapping[str, Any],
    examples: Mapping[str, list[dict[str, Any]]],
    config: CorpusConfig,
) -> None:
    """Writes the three files; `examples` are {'kind/code': …}."""
    text = json.dumps(quality, indent=1, ensure_ascii=False) + '\n'
    manifest.write_atomic(folder / QUALITY, text.encode('utf-8', 'replace'))
    page = _page(quality, examples, config)
    for name in ('quality.md', 'quality.html'):
        manifest.write_atomic(folder / name, render(f'{name}.j2', page).encode('utf-8', 'replace'))


def _page(quality, examples, config: CorpusConfig) -> dict[str, Any]:
    kinds = [
        {
            'name': name,
            'title': _TITLES[name],
            'rates': found,
            'sections': rates.sections(name, found),
            'examples': {
                code.partition('/')[2]: shown
                for code, shown in examples.items()
                if code.startswith(f'{name}/')
            },
        }
        for name, found in quality['kinds'].items()
    ]
    return {
        'quality': quality,
        'kinds': kinds,
        'levels': (*SENTIMENT_LEVELS, SILENT),
        'meanings': filters.ANSWER_PROBLEMS
        | filters.OPINION_PROBLEMS
        | rewriting.REASONS
        | parse.REASONS,
        'source': Path(config.answers).name,
        'targets': config.targets,
    }


def render(template: str, page: Mapping[str, Any]) -> str:
    """A template of this package, filled in; HTML is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('fsa_jax.corpus', 'pages'),
        autoescape=jinja2.select_autoescape(['html.j2']),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    css = [
        resources.files('fsa_jax.evaluate').joinpath('templates', 'report.css'),
        resources.files('fsa_jax.corpus').joinpath('pages', 'quality.css'),
    ]
    style = '\n'.join(sheet.read_text(encoding='utf-8') for sheet in css)
    return environment.get_template(template).render(page, css=style)

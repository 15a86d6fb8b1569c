"""What the documents and run files say must exist: stages, knobs, files, numbers' sources."""

import re

import pytest

from fsa_jax import gin_registry, stages
from tests.bench import readme
from tests.conftest import REPOSITORY

DOCUMENTS = [
    REPOSITORY / 'README.md',
    REPOSITORY / 'CONTRIBUTING.md',
    *REPOSITORY.glob('docs/*.md'),
]
RUN_FILES = sorted((REPOSITORY / 'gin_configs').rglob('*.gin'))


@pytest.mark.parametrize('path', DOCUMENTS + RUN_FILES, ids=lambda p: p.name)
def test_every_knob_and_stage_that_is_named_exists(path):
    text = path.read_text()
    for binding in re.findall(r'--gin\.(\w+\.\w+)=', text):
        if binding != 'Class.field':
            gin_registry._quoted(f'{binding}=0', gin_registry.CLASSES)
    for first, second in re.findall(
        r'(?:^|`|    )fsa ([a-z][a-z_-]*)(?: ([a-z]+))?\b', text, re.MULTILINE
    ):
        named = {first, f'{first} {second}'}
        assert named & stages.STAGES.keys(), f'{path.name} names the stage {first!r}'


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda p: p.name)
def test_every_local_link_and_run_file_exists(path):
    text = path.read_text()
    for target in re.findall(r'\]\((?!https?:)([^)#]+)', text):
        assert (path.parent / target).exists(), f'{path.name} links to {target}'
    for file in re.findall(r'--gin_file=(run/\S+?\.gin)', text):
        assert (REPOSITORY / 'gin_configs' / file).exists()


@pytest.mark.parametrize('path', RUN_FILES, ids=lambda p: p.stem)
def test_every_run_file_builds(path):
    paths = [str(REPOSITORY / 'gin_configs')]
    gin_registry.build(list(gin_registry.CLASSES.values()), [str(path)], paths)


@pytest.mark.parametrize(
    'path', sorted((REPOSITORY / 'gin_configs' / 'run').glob('*.gin')), ids=lambda p: p.stem
)
def test_every_run_file_opens_with_command_hardware_time_and_score(path):
    opening = path.read_text().partition('\n\n')[0]
    for word in ('# Command:', '# Hardware:', '# Time:', '# Score:'):
        assert word in opening


def test_the_numbers_of_the_readme_are_those_of_the_result_files():
    text = readme.README.read_text()
    assert text == readme.updated(text), 'run: python -m tests.bench.readme'

"""Prompts: what is asked, in which order, and under which hash."""

import dataclasses
import json

import jsonschema
import pytest

from fsa_jax.configs import PromptConfig
from fsa_jax.corpus import analysis
from fsa_jax.corpus.parse import parse_analysis
from fsa_jax.corpus.prompts import load_prompt, load_prompts
from fsa_jax.errors import UserError
from fsa_jax.records import Review

ONE, OTHER = Review('1', 'The soup was cold.'), Review('2', 'Lovely soup. {review} {x} \\1')
VARIANTS = [(r, j) for r in (True, False) for j in (True, False)]


def _prompt(kind='analysis', review=ONE, **variant):
    return load_prompt(kind, **variant).messages(review)


def test_a_prompt_is_the_instructions_and_then_the_review():
    (turn,) = _prompt()
    assert turn['role'] == 'user'
    assert turn['content'].startswith('You are')
    assert turn['content'].endswith('\nReview: The soup was cold.')


@pytest.mark.parametrize(('reasoning', 'json_answer'), VARIANTS)
@pytest.mark.parametrize('demonstrations', [0, 3])
def test_prompts_share_all_that_comes_before_the_review(reasoning, json_answer, demonstrations):
    variant = {
        'reasoning': reasoning, 'json_answer': json_answer, 'demonstrations': demonstrations
    }  # fmt: skip
    texts = [json.dumps(_prompt(review=review, **variant)) for review in (ONE, OTHER)]
    shared = texts[0].index('The soup was cold')
    assert texts[0][:shared] == texts[1][:shared]
    assert texts[0][shared:].count('content') == 0, 'the review comes last'
    assert OTHER.text in _prompt(review=OTHER, **variant)[-1]['content'], 'braces stay as they are'


def test_demonstrations_are_turns_of_both_sides():
    turns = _prompt(demonstrations=2)
    assert [turn['role'] for turn in turns] == ['user', 'assistant'] * 2 + ['user']
    assert turns[1]['content'].startswith('Opinion Target 1: "')
    assert 'Reasoning: ' in turns[1]['content']
    assert 'Reasoning: ' not in _prompt(demonstrations=2, reasoning=False)[1]['content']


def test_fewer_demonstrations_are_the_first_of_more_and_the_seed_draws_them():
    more, fewer = _prompt(demonstrations=4), _prompt(demonstrations=2)
    assert more[:4] == fewer[:4]
    assert _prompt(demonstrations=4, seed=1) != more


@pytest.mark.parametrize('reasoning', [True, False])
def test_demonstrated_json_is_valid_and_becomes_the_demonstrated_text(reasoning):
    asked = {'reasoning': reasoning, 'demonstrations': 8}
    template = load_prompt('analysis', json_answer=True, **asked)
    texts = [answer for _, answer in load_prompt('analysis', **asked).demonstrations]
    for (_, answer), text in zip(template.demonstrations, texts, strict=True):
        jsonschema.validate(json.loads(answer), template.schema)
        assert analysis.render(parse_analysis(answer, '').opinions, reasoning) == text


def test_the_hash_tells_review_variant_and_schema_apart():
    variants = [{}, {'reasoning': False}, {'json_answer': True}, {'demonstrations': 1}]
    hashes = [load_prompt('analysis', **v).hash(r) for v in variants for r in (ONE, OTHER)]
    hashes.append(load_prompt('rewriting').hash(ONE))
    free = dataclasses.replace(load_prompt('analysis', json_answer=True), schema=None)
    hashes.append(free.hash(ONE))
    assert len(set(hashes)) == len(hashes)
    assert load_prompt('analysis').hash(ONE) == load_prompt('analysis').hash(Review('9', ONE.text))


def test_a_hash_takes_half_a_character():
    assert len(load_prompt('analysis').hash(Review('1', 'odd \ud800'))) == 64


def test_a_config_loads_its_kinds():
    loaded = load_prompts(PromptConfig(json=True, reasoning=False))
    assert [t.name for t in loaded.values()] == ['analysis_json_brief', 'rewriting']
    assert loaded['rewriting'].schema is None
    assert load_prompts(PromptConfig(kinds=('rewriting',))).keys() == {'rewriting'}


def test_a_user_has_templates_of_their_own(tmp_path):
    (tmp_path / 'rewriting.txt').write_text('version: mine\n===\nSay it.\n===\n<{review}>\n')
    mine = load_prompt('rewriting', folder=tmp_path)
    assert mine.messages(ONE) == [{'role': 'user', 'content': 'Say it.\n\n<The soup was cold.>'}]
    assert mine.version == 'mine'
    assert load_prompt('analysis', folder=tmp_path) == load_prompt('analysis')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('version: 1\n===\nSay it.\n', '2 parts'),
        ('Say it.\n===\nb\n===\n{review}', 'version: …'),
        ('version: 1\n===\nSay it.\n===\nReview:', 'must hold {review} once'),
    ],
)
def test_a_file_that_is_no_template_is_named(tmp_path, text, said):
    (tmp_path / 'analysis.txt').write_text(text)
    with pytest.raises(UserError, match=r'analysis\.txt') as error:
        load_prompt('analysis', folder=tmp_path)
    assert said in str(error.value)


def test_bad_knobs_are_named(tmp_path):
    with pytest.raises(UserError, match=r"did you mean 'rewriting'"):
        PromptConfig(kinds=('rewrite',))
    with pytest.raises(UserError, match='at least one'):
        PromptConfig(kinds=())
    with pytest.raises(UserError, match='demonstrations=99: there are 8'):
        load_prompt('analysis', demonstrations=99)
    with pytest.raises(UserError, match='not a folder'):
        load_prompt('analysis', folder=tmp_path / 'none')
    (tmp_path / 'demonstrations.jsonl').write_text('{"review": "x"}\n')
    with pytest.raises(UserError, match=r'demonstrations.jsonl:1: .*opinions'):
        load_prompt('analysis', demonstrations=1, folder=tmp_path)
    (tmp_path / 'analysis.txt').write_bytes(b'version: 1\n===\nSay \xff.\n===\n{review}')
    with pytest.raises(UserError, match=r'analysis\.txt:3: expected UTF-8 text'):
        load_prompt('analysis', folder=tmp_path)

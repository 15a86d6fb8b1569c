"""The resumable run: with the scripted engine and with published answers."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from fsa_jax import manifest
from fsa_jax.configs import TeacherConfig
from fsa_jax.data.corpus_files import read_answers, read_generations
from fsa_jax.errors import UserError
from fsa_jax.records import Generation, Review, read_jsonl, write_jsonl
from fsa_jax.teacher.scripted import ScriptedEngine
from tests.unit.teacher.conftest import content, teach

SCRIPTED = {'engine': 'scripted', 'part_size': 16}


@pytest.fixture(scope='module')
def unbroken(lab_reviews, tmp_path_factory):
    return teach(tmp_path_factory.mktemp('run') / 'out', reviews=str(lab_reviews), **SCRIPTED)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def killed_after(monkeypatch, count):
    """The scripted engine, dead after `count` answers."""
    answers = ScriptedEngine.answers

    def dies(self, requests):
        for number, answered in enumerate(answers(self, requests)):
            if number == count:
                raise Killed
            yield answered

    monkeypatch.setattr(ScriptedEngine, 'answers', dies)


def test_every_request_is_there_once_in_order(unbroken, lab_reviews):
    reviews = list(read_jsonl(Review, lab_reviews / 'reviews.jsonl'))
    answers = [g for part in sorted(unbroken.glob('part-*')) for g in read_jsonl(Generation, part)]
    assert [a.id for a in answers] == [
        f'{r.id}-{kind}' for r in reviews for kind in ('analysis', 'rewriting')
    ]
    assert all(a.prompt_hash and a.teacher == 'scripted' for a in answers)
    assert len(list(unbroken.glob('part-*'))) == 8  # 120 requests, 16 each
    counts = manifest.read(unbroken)['counts']
    assert counts['requests'] == counts['answered'] == 120


@pytest.mark.parametrize('count', [1, 16, 50])
def test_a_killed_run_goes_on_to_the_same_bytes(
    unbroken, lab_reviews, tmp_path, monkeypatch, count
):
    with monkeypatch.context() as patch:
        killed_after(patch, count)
        with pytest.raises(Killed):
            teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    asked = []
    answer = ScriptedEngine._answer
    monkeypatch.setattr(
        ScriptedEngine, '_answer', lambda self, r: asked.append(r) or answer(self, r)
    )
    teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    assert content(tmp_path / 'out') == content(unbroken)
    assert len(asked) == 120 - count  # nothing was asked twice


def test_a_torn_journal_and_a_left_over_journal_do_no_harm(
    unbroken, lab_reviews, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        killed_after(patch, 20)
        with pytest.raises(Killed):
            teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    side = tmp_path / 'out' / '.parts'
    journal = side / '00001.journal'
    journal.write_bytes(journal.read_bytes()[:-7])
    shutil.copy(journal, side / '00000.journal')
    teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    assert content(tmp_path / 'out') == content(unbroken)
    assert not list(side.glob('*.journal'))


def test_other_reviews_are_refused_on_a_resume(lab_reviews, tmp_path, monkeypatch):
    shutil.copy(lab_reviews / 'reviews.jsonl', tmp_path)
    with monkeypatch.context() as patch:
        killed_after(patch, 20)
        with pytest.raises(Killed):
            teach(tmp_path / 'out', reviews=str(tmp_path / 'reviews.jsonl'), **SCRIPTED)
    lines = (tmp_path / 'reviews.jsonl').read_text().splitlines(keepends=True)
    (tmp_path / 'reviews.jsonl').write_text(''.join(lines[1:]))
    with pytest.raises(UserError, match='was begun from another reviews'):
        teach(tmp_path / 'out', reviews=str(tmp_path / 'reviews.jsonl'), **SCRIPTED)
    monkeypatch.setattr(
        manifest.Output, '_note', lambda *_: None
    )  # the requests of each part tell too
    with pytest.raises(UserError, match='have changed since'):
        teach(tmp_path / 'out', reviews=str(tmp_path / 'reviews.jsonl'), **SCRIPTED)


def test_a_bad_review_is_set_aside_and_the_rest_goes_on(unbroken, lab_reviews, tmp_path):
    reviews = list(read_jsonl(Review, lab_reviews / 'reviews.jsonl'))
    bad = {'empty': ' \n', 'control_characters': 'a\x07b', 'not_in_the_lab': 'What a place!'}
    reviews[3:3] = [Review(code, text) for code, text in bad.items()]
    write_jsonl(tmp_path / 'reviews.jsonl', reviews)
    with open(tmp_path / 'reviews.jsonl', 'a') as file:
        file.write('{"id": "lone_surrogate", "text": "half \\ud83d a face"}\n')
    out = teach(tmp_path / 'out', reviews=str(tmp_path / 'reviews.jsonl'), **SCRIPTED)
    aside = [
        json.loads(line) for p in out.glob('set_aside/*') for line in p.read_text().splitlines()
    ]
    assert sorted((a['review'], a['reason']) for a in aside) == sorted(
        (code, code) for code in (*bad, 'lone_surrogate') for _ in range(2)
    )
    counts = manifest.read(out)['counts']
    assert counts['requests'] == 128
    assert counts['answered'] == 120
    assert counts['set_aside/empty'] == 2
    same = {g.output for g in read_generations(unbroken, validation_fraction=0.0)}
    assert {g.output for g in read_generations(out, validation_fraction=0.0)} == same


def test_a_part_without_any_answer_stops_the_run(tmp_path):
    reviews = [Review(str(n), f'Nobody in the lab wrote this {n}.') for n in range(30)]
    write_jsonl(tmp_path / 'reviews.jsonl', reviews)
    with pytest.raises(UserError, match=r"no request of part-00000\.jsonl .* 'not_in_the_lab'"):
        teach(tmp_path / 'out', reviews=str(tmp_path), engine='scripted')
    assert not (tmp_path / 'out').exists()  # the next run may have other knobs


def test_ids_must_be_unique(tmp_path):
    write_jsonl(
        tmp_path / 'reviews.jsonl', [Review('a', 'one'), Review('b', 'two'), Review('a', 'x')]
    )
    with pytest.raises(UserError, match="'a' occurs more than once; ids must be unique"):
        teach(tmp_path / 'out', reviews=str(tmp_path), engine='scripted')


@pytest.mark.parametrize('field', [{'id': 7}, {'text': None}, {'rating': 'good'}])
def test_a_field_of_another_kind_is_named(field, tmp_path):
    line = {'id': 'a', 'text': 'one', 'domain': '', 'rating': 5} | field
    (tmp_path / 'reviews.jsonl').write_text(json.dumps(line) + '\n')
    with pytest.raises(UserError, match=f"reviews.jsonl:1: '{next(iter(field))}' must be"):
        teach(tmp_path / 'out', reviews=str(tmp_path), engine='scripted')


def test_reviews_in_another_encoding_are_one_line(tmp_path):
    line = json.dumps({'id': 'a', 'text': 'Très bien.'}, ensure_ascii=False)
    (tmp_path / 'reviews.jsonl').write_text(f'{line}\n', 'latin-1')
    with pytest.raises(UserError, match=r'reviews\.jsonl:1: expected UTF-8'):
        teach(tmp_path / 'out', reviews=str(tmp_path), engine='scripted')


def test_half_a_character_in_a_domain_is_mended(lab_reviews, tmp_path):
    review = next(read_jsonl(Review, lab_reviews / 'reviews.jsonl'))
    record = vars(review) | {'domain': 'half \ud83d'}
    (tmp_path / 'reviews.jsonl').write_text(json.dumps(record) + '\n')
    out = teach(tmp_path / 'out', reviews=str(tmp_path), **SCRIPTED)
    assert {g.domain for g in read_generations(out, validation_fraction=0.0)} == {'half \ufffd'}


def test_a_full_disk_is_one_line_and_loses_nothing(unbroken, lab_reviews, tmp_path, monkeypatch):
    write_atomic = manifest.write_atomic

    def full(path, text):
        if path.name == 'part-00002.jsonl':
            raise OSError(28, 'No space left on device', str(path))
        write_atomic(path, text)

    with monkeypatch.context() as patch:
        patch.setattr('fsa_jax.teacher.parts.write_atomic', full)
        with pytest.raises(OSError, match='No space left on device'):  # cli.py prints it, exit 2
            teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    assert {p.name for p in (tmp_path / 'out').glob('part-*')} == {
        'part-00000.jsonl', 'part-00001.jsonl',
    }  # fmt: skip
    teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    assert content(tmp_path / 'out') == content(unbroken)


def test_shards_make_up_the_whole_and_readers_refuse_less(unbroken, lab_reviews, tmp_path):
    for shard in ('0/3', '2/3'):
        out = tmp_path / 'all' / shard[0]
        teach(out, reviews=str(lab_reviews), shard=shard, **SCRIPTED)
    with pytest.raises(UserError, match='shards 1/3 are missing'):
        list(read_generations(tmp_path / 'all'))
    last = tmp_path / 'all' / '1'
    teach(last, reviews=str(lab_reviews), shard='1/3', **SCRIPTED)
    whole = sorted(read_generations(unbroken, validation_fraction=0.0), key=lambda g: g.id)
    merged = sorted(read_generations(tmp_path / 'all', validation_fraction=0.0), key=lambda g: g.id)
    assert merged == whole

    shutil.copytree(last, tmp_path / 'all' / 'again')
    with pytest.raises(UserError, match='are the same shard, 1/3'):
        list(read_generations(tmp_path / 'all'))
    shutil.rmtree(tmp_path / 'all' / 'again')
    part = next(last.glob('part-*'))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(UserError, match='missing or cut'):
        list(read_generations(tmp_path / 'all'))
    shutil.rmtree(last)
    teach(last, reviews=str(lab_reviews), shard='1/3', seed=1, **SCRIPTED)
    with pytest.raises(UserError, match='are missing'):
        list(read_generations(tmp_path / 'all'))


def test_shards_of_two_numbers_do_not_make_up_a_whole(lab_reviews, tmp_path):
    for shard in ('0/2', '1/3', '2/3'):  # 0, 1 and 2 are there, and reviews are missing
        teach(tmp_path / 'all' / shard[0], reviews=str(lab_reviews), shard=shard, **SCRIPTED)
    with pytest.raises(UserError, match='shards of 2 and of 3 of one job'):
        list(read_generations(tmp_path / 'all'))


def test_shards_asked_in_other_words_are_of_two_jobs(lab_reviews, tmp_path):
    templates = tmp_path / 'templates'
    templates.mkdir()
    for n, told in enumerate(('Say it.', 'Say it again.')):
        text = f'version: mine\n===\n{told}\n===\n{{review}}\n'
        (templates / 'rewriting.txt').write_text(text)
        teach(
            tmp_path / 'all' / str(n), reviews=str(lab_reviews), shard=f'{n}/2', templates=str(templates),
            kinds=('rewriting',), **SCRIPTED,
        )  # fmt: skip
    with pytest.raises(UserError, match='shards 1/2 are missing'):
        list(read_generations(tmp_path / 'all'))
    counts = manifest.read(tmp_path / 'all' / '0')['counts']
    assert counts['templates'] == {'rewriting': 'rewriting, version mine'}


@pytest.mark.parametrize('file', ['manifest.json', '.job.json'])
def test_killed_after_the_last_part_it_is_finished_by_the_next_run(
    unbroken, lab_reviews, tmp_path, monkeypatch, file
):
    """Hashing the parts of two million answers takes minutes."""
    name, module = {
        'manifest.json': ('write_atomic', manifest),
        '.job.json': ('unlink', Path),
    }[file]
    does = getattr(module, name)

    def dies(path, *rest, **more):
        if path.name == file and (tmp_path / 'out' / 'part-00007.jsonl').exists():
            raise Killed
        return does(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, dies)
        with pytest.raises(Killed):
            teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    with contextlib.suppress(manifest.AlreadyDone):
        teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    assert len(list(read_generations(tmp_path / 'out', validation_fraction=0.0))) == 120
    assert manifest.read(tmp_path / 'out')['files'] == manifest.read(unbroken)['files']


def test_an_unfinished_run_is_no_corpus(lab_reviews, tmp_path, monkeypatch):
    killed_after(monkeypatch, 40)
    with pytest.raises(Killed):
        teach(tmp_path / 'out', reviews=str(lab_reviews), **SCRIPTED)
    with pytest.raises(UserError, match='is not finished'):
        list(read_generations(tmp_path / 'out'))


@pytest.mark.parametrize('shard', ['1/1', '3', '-1/2', 'a/b', '0/0'])
def test_a_shard_that_is_none_is_refused(shard):
    with pytest.raises(UserError, match='0 <= i < n'):
        TeacherConfig(engine='scripted', reviews='x', shard=shard)


def test_replay_gives_a_teachers_own_answers_again(unbroken, lab_reviews, tmp_path):
    own = teach(tmp_path / 'own', reviews=str(lab_reviews), engine='replay', answers=str(unbroken))
    told = [g.output for g in read_generations(unbroken, validation_fraction=0.0)]
    assert [g.output for g in read_generations(own, validation_fraction=0.0)] == told


def test_a_replayed_answer_has_not_the_hash_of_our_prompt(tmp_path):
    record = {'input_text': 'Good soup.', 'prompt': 'Rewrite: ', 'output_text': 'I love it.'}
    (tmp_path / 'answers.json').write_text(json.dumps([record]))
    out = teach(tmp_path / 'out', engine='replay', answers=str(tmp_path / 'answers.json'))
    (answer,) = read_generations(out, validation_fraction=0.0)
    assert (answer.teacher, answer.prompt_hash) == ('replay', '')


@pytest.mark.parametrize('sampled', [False, True])
def test_a_replayed_answer_keeps_its_prompt_apart_from_the_review(tmp_path, sampled):
    """Both answers to a review are one review, whose words the prompts' are not."""
    review, output = 'Good soup.', 'I love it.'
    told = [
        {'input_text': review, 'prompt': 'Rewrite: ', 'output_text': output},
        {'input_text': review, 'prompt': 'List: ', 'output_text': 'Opinion Target 1: "soup"'},
    ]
    answers, reviews = tmp_path / 'answers.json', tmp_path / 'reviews.jsonl'
    answers.write_text(json.dumps(told))
    write_jsonl(reviews, [Review('r1', review)])
    sample = str(reviews) if sampled else ''
    out = teach(tmp_path / 'out', engine='replay', answers=str(answers), reviews=sample)
    found = list(read_answers(out))
    assert {(a.kind, a.input, a.prompt, r) for a, r in found} == {
        ('rewriting', 'Rewrite: Good soup.', 'Rewrite: ', review),
        ('analysis', 'List: Good soup.', 'List: ', review),
    }
    again = teach(tmp_path / 'again', engine='replay', answers=str(out))
    assert {(a.input, r) for a, r in read_answers(again)} == {(a.input, r) for a, r in found}


@pytest.mark.data
def test_replay_of_the_published_answers(shared, tmp_path):
    published = shared / 'data' / 'corpus' / 'mixtral_250.json'
    out = teach(tmp_path / 'out', engine='replay', answers=str(published))
    given = list(read_generations(published, validation_fraction=0.0))
    again = list(read_generations(out, validation_fraction=0.0))
    unique = {(g.input, g.kind) for g in given}
    assert len(again) == len(unique) > 200
    assert {(g.input, g.kind, g.output, g.rating) for g in again} <= {
        (g.input, g.kind, g.output, g.rating) for g in given
    }
    assert {(g.teacher, g.prompt_hash) for g in again} == {('mixtral', '')}

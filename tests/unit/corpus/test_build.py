"""`fsa corpus`: filters, splits, nested sizes, rejects, files that others read."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from fsa_jax import cli, records, stages
from fsa_jax.configs import CorpusConfig, FilterConfig, LabConfig
from fsa_jax.corpus.build import place_of
from fsa_jax.data.corpus_files import read_answers, read_generations, split_names
from fsa_jax.errors import UserError
from fsa_jax.lab.files import write_world
from fsa_jax.records import CorpusExample, Generation, Review, read_jsonl, write_jsonl

REVIEW = 'the kettle boils fast, but the lid sticks. for 12 dollars i am happy.'
ANALYSIS = (
    'Opinion Target 1: "kettle"\nAspect: Speed\nSentiment: Very Positive\nReasoning: It "boils fast".\n\n'
    'Opinion Target 2: "lids"\nAspect: Fit\nSentiment: Negative\nReasoning: They stick.'
)
MADE_UP = '\n\nOpinion Target 3: "shutter"\nAspect: Speed\nSentiment: Positive\nReasoning: Praise.'
REWRITING = 'I love how fast the kettle boils, and the price makes me happy, but the lid annoys me.'


@pytest.fixture(scope='module')
def world(tmp_path_factory) -> Path:
    """Answers of the lab's teacher, many of them wrong."""
    folder = tmp_path_factory.mktemp('lab') / 'world'
    write_world(folder, LabConfig(
        corpus_reviews=150, train_sentences=4, validation_sentences=4, test_sentences=4, hard_test_sentences=4,
        error_malformed=0.4, error_made_up_target=0.2, error_wrong_sentiment=0.2,
    ))  # fmt: skip
    return folder


def build(folder, answers, corpus=None, filters=None) -> Path:
    corpus = CorpusConfig(answers=str(answers), **(corpus or {}))
    stages.run('corpus', (corpus, FilterConfig(**(filters or {}))), folder)
    return folder


def one(tmp_path, output, kind='analysis', corpus=None, filters=None, **fields):
    """(examples, rows of rejects.jsonl) of a corpus of one answer."""
    tmp_path.mkdir(exist_ok=True)
    answers = tmp_path / 'answers.jsonl'
    answer = {'id': 'r1', 'kind': kind, 'input': REVIEW, 'output': output} | fields
    write_jsonl(answers, [Generation(**answer)])
    folder = build(
        tmp_path / 'corpus',
        answers,
        {'validation_fraction': 0.0, 'parquet': False} | (corpus or {}),
        filters,
    )
    return examples(folder), rejects(folder)


def examples(folder) -> list[CorpusExample]:
    return [
        e
        for file in sorted((folder / 'data').glob('*.jsonl'))
        for e in read_jsonl(CorpusExample, file)
    ]


def rejects(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / 'rejects.jsonl').read_text().splitlines()]


def test_a_clean_target_is_rendered_anew_and_what_was_cut_is_kept(tmp_path):
    made, lost = one(
        tmp_path, ANALYSIS + MADE_UP + '\n\nConfidence: 90%', rating=4.0, domain='kitchen'
    )
    assert made[0].target == ANALYSIS
    assert (made[0].id, made[0].input, made[0].rating, made[0].domain) == (
        'r1',
        REVIEW,
        4.0,
        'kitchen',
    )
    assert [o.target for o in made[0].opinions] == ['kettle', 'lids']
    assert made[0].flags == ('meta', 'unsupported_target')
    assert lost[0]['reasons'] == ['meta', 'unsupported_target']
    assert [o['target'] for o in lost[0]['opinions']] == ['shutter']
    assert lost[0]['rejected'] is False
    assert lost[0]['answer'].endswith('90%')


def test_an_example_keeps_the_prompt_before_its_review(tmp_path):
    made, _ = one(tmp_path, ANALYSIS, input=f'List shutters: {REVIEW}', prompt='List shutters: ')
    assert (made[0].input, made[0].prompt) == (f'List shutters: {REVIEW}', 'List shutters: ')
    ((_, review),) = read_answers(tmp_path / 'corpus')
    assert review == REVIEW


def test_without_reasoning_from_the_same_answer(tmp_path):
    made, _ = one(tmp_path, ANALYSIS, corpus={'reasoning': False})
    assert made[0].target == '\n'.join(
        line for line in ANALYSIS.splitlines() if 'Reasoning' not in line
    )
    assert made[0].opinions[0].reasoning == 'It "boils fast".'


@pytest.mark.parametrize(
    ('before', 'after', 'finish', 'rejected'),
    [
        ('', '\n\nNote: this rewriting keeps the meaning and', 'length', {'raw'}),
        ('', '\n\nNote: this rewriting keeps the meaning and', '', {'raw'}),
        ('', '\n\nReview: another.', 'length', {'raw'}),
        ('', ' The lid', 'length', {'raw', 'clean'}),
        ('', ' The lid', '', {'raw', 'clean'}),
        ('', ' The lid', 'stop', set()),
        ('', ' The lid\n\nReview: another.', '', {'clean'}),
        ("Here's the rewritten review:\n\n", ' The lid', '', {'raw', 'clean'}),
        ('**I say:** ', ' The lid', '', {'raw', 'clean'}),
        ("Here's the rewritten review:\n\n", '', '', set()),
    ],
)
def test_a_rewriting_is_cut_where_its_own_text_is(tmp_path, before, after, finish, rejected):
    """What was cut away does not count, but for a raw target, which holds it."""
    for targets in ('raw', 'clean'):
        made, lost = one(
            tmp_path / targets,
            before + REWRITING + after,
            'rewriting',
            corpus={'targets': targets},
            finish_reason=finish,
        )
        assert (made == []) == (targets in rejected)
        assert any('truncated' in row['reasons'] for row in lost) == (targets in rejected)


def test_raw_targets_are_the_papers(tmp_path):
    junk = f'{ANALYSIS}\n\nReview: another one.'
    made, lost = one(tmp_path / 'a', ANALYSIS + '\n\nConfidence: 90%', corpus={'targets': 'raw'})
    assert made[0].target == ANALYSIS + '\n\nConfidence: 90%'
    made, lost = one(tmp_path / 'b', junk, corpus={'targets': 'raw'})
    assert (made, lost[0]['reasons']) == ([], ['continuation', 'junk'])
    made, _ = one(tmp_path / 'c', junk, corpus={'targets': 'raw'}, filters={'filter': 'keep'})
    assert made[0].target == junk


def test_keep_flags_and_drops_nothing(tmp_path):
    made, lost = one(tmp_path, ANALYSIS + MADE_UP, filters={'filter': 'keep'})
    assert [o.target for o in made[0].opinions] == ['kettle', 'lids', 'shutter']
    assert made[0].flags == ('unsupported_target',)
    assert lost[0]['opinions'] == []


def test_correct_grounds_a_target_on_the_review_and_asks_the_rest_again(tmp_path):
    made, _ = one(
        tmp_path, ANALYSIS.replace('kettle', 'kettel') + MADE_UP, filters={'filter': 'correct'}
    )
    assert [o.target for o in made[0].opinions] == ['kettle', 'lid']
    assert 'corrected' in made[0].flags
    again = list(read_jsonl(Review, tmp_path / 'corpus' / 'again' / 'reviews.jsonl'))
    assert again == [Review(f'{place_of(REVIEW):016x}', REVIEW)]


def test_a_review_is_asked_again_once_whatever_its_answers_are_called(tmp_path):
    """The numbers of published answers repeat: over kinds, and over files."""
    bad = {'analysis': ANALYSIS + MADE_UP, 'rewriting': 'I like it.'}
    rows = [
        Generation('7', kind, f'{REVIEW} {n}', output)
        for n in range(2) for kind, output in bad.items()
    ]  # fmt: skip
    write_jsonl(tmp_path / 'answers.jsonl', rows)
    config = {'questions': True, 'parquet': False}
    folder = build(tmp_path / 'corpus', tmp_path / 'answers.jsonl', config, {'filter': 'correct'})
    for name, count in (('again', 2), ('self_check', 2)):
        asked = list(read_jsonl(Review, folder / name / 'reviews.jsonl'))
        assert len({r.id for r in asked}) == len(asked) == count


def test_no_opinion_said_in_json_is_as_good_as_in_words(tmp_path):
    for n, output in enumerate(('No opinion target.', '{"opinions": []}')):
        made, _ = one(tmp_path / str(n), output)
        assert [e.target for e in made] == ['No opinion target.']
    made, lost = one(tmp_path / 'cut', '{"opinions": [{"target": "ket')
    assert (made, lost[0]['reasons']) == ([], ['cut', 'few_opinions'])


@pytest.mark.parametrize(
    ('output', 'kind', 'filters', 'code'),
    [
        (ANALYSIS.replace('Negative', 'Unclear').replace('Very Positive', 'N/A'), 'analysis', {}, 'no_sentiment'),
        (ANALYSIS, 'analysis', {'min_opinions': 3}, 'few_opinions'),
        (ANALYSIS, 'analysis', {'max_opinions': 1}, 'many_opinions'),
        (ANALYSIS.replace('"boils fast"', '"boils slowly"'), 'analysis', {'false_quotation': True, 'min_opinions': 2}, 'false_quotation'),
        (ANALYSIS.replace('Aspect: Fit\n', ''), 'analysis', {'no_aspect': True, 'min_opinions': 2}, 'no_aspect'),
        (REWRITING.replace('I ', 'They ').replace('me', 'them'), 'rewriting', {}, 'not_first_person'),
        ('I like it.', 'rewriting', {}, 'short'),
        (REWRITING * 10, 'rewriting', {}, 'long'),
        (REWRITING + ' It took me 45 minutes.', 'rewriting', {}, 'new_numbers'),
        (REWRITING + ' It beats my old Bosch and my Siemens kettle.', 'rewriting', {}, 'new_names'),
        (REVIEW, 'rewriting', {}, 'copied'),
        (REWRITING[:-10], 'rewriting', {}, 'truncated'),
    ],
)  # fmt: skip
def test_each_filter_rejects_and_can_be_kept(tmp_path, output, kind, filters, code):
    made, lost = one(tmp_path / 'drop', output, kind, filters=filters)
    assert made == []
    assert code in lost[0]['reasons']
    assert lost[0]['rejected']
    made, lost = one(tmp_path / 'keep', output, kind, filters=filters | {'filter': 'keep'})
    assert code in made[0].flags
    assert not lost[0]['rejected']


def test_a_rewriting_loses_what_surrounds_it(tmp_path):
    text = f'Rewritten review: {REWRITING}\n\nConfidence: 90%\n\nReview: next one'
    made, lost = one(tmp_path, text, 'rewriting')
    assert made[0].target == REWRITING
    assert made[0].flags == ('heading', 'meta')
    assert lost[0]['answer'] == text


def test_no_review_is_on_both_sides_however_it_is_written(tmp_path):
    rows = [
        Generation(f'{i}-{form}', kind, text, REWRITING if kind == 'rewriting' else ANALYSIS)
        for i in range(40)
        for form, text in enumerate((f'{REVIEW} number {i}', f'{REVIEW.upper()}   Number {i}!'))
        for kind in ('analysis', 'rewriting')
    ]
    write_jsonl(tmp_path / 'answers.jsonl', rows)
    folder = build(
        tmp_path / 'corpus', tmp_path / 'answers.jsonl', {'validation_fraction': 0.3},
        {'duplicates': False, 'filter': 'keep'},
    )  # fmt: skip
    sides = {
        split: {place_of(g.input) for g in read_generations(folder, split)}
        for split in ('train', 'validation')
    }
    assert not sides['train'] & sides['validation']
    assert len(sides['train'] | sides['validation']) == 40
    assert 4 <= len(sides['validation']) <= 20


def test_a_smaller_corpus_is_part_of_a_larger_one(world, tmp_path):
    inputs = {}
    for size in (40, 100, 0):
        folder = build(
            tmp_path / str(size),
            world / 'corpus',
            {'size': size, 'parquet': False, 'validation_fraction': 0.2},
        )
        inputs[size] = {
            split: {e.input for e in read_generations(folder, split)}
            for split in ('train', 'validation')
        }
    for split in ('train', 'validation'):
        assert inputs[40][split] < inputs[100][split] < inputs[0][split]
    assert 36 <= len(inputs[40]['train'] | inputs[40]['validation']) <= 40


def test_kinds_and_domains_are_chosen(world, tmp_path):
    folder = build(
        tmp_path / 'c',
        world / 'corpus',
        {'kinds': ('rewriting',), 'domains': ('laptop',), 'shard_size': 50},
    )
    made = examples(folder)
    assert {(e.kind, e.domain) for e in made} == {('rewriting', 'laptop')}
    assert len(list((folder / 'data').glob('train-*.jsonl'))) == -(
        -sum(1 for _ in read_generations(folder)) // 50
    )


def test_every_answer_is_accounted_for_and_the_same_twice(world, tmp_path):
    folders = [build(tmp_path / name, world / 'corpus', {'parquet': False}) for name in 'ab']
    counts = json.loads((folders[0] / 'manifest.json').read_text())['counts']
    made, lost = examples(folders[0]), rejects(folders[0])
    assert counts['answers'] == 600 == len(made) + sum(row['rejected'] for row in lost)
    assert counts['examples'] == Counter(
        'validation' if 'validation' in f.name else 'train'
        for f in (folders[0] / 'data').iterdir() for _ in f.open()
    )  # fmt: skip
    flagged = {e.id for e in made if e.flags}
    assert flagged == {row['id'] for row in lost if not row['rejected']}
    for name in ('data/train-00000.jsonl', 'rejects.jsonl', 'quality.json', 'quality.html'):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_parquet_and_the_card_say_the_same_as_the_lines(world, tmp_path):
    folder = build(tmp_path / 'c', world / 'corpus', {'validation_fraction': 0.2})
    head = yaml.safe_load((folder / 'README.md').read_text().split('---')[1])
    files = {d['split']: d['path'] for d in head['configs'][0]['data_files']}
    assert set(files) == {'train', 'validation'} == set(split_names(folder))
    for split, pattern in files.items():
        rows = pq.read_table([str(p) for p in sorted(folder.glob(pattern))]).to_pylist()
        lines = [
            records.to_json(e)
            for e in read_jsonl(CorpusExample, folder / 'data' / f'{split}-00000.jsonl')
        ]
        assert rows == [json.loads(line) for line in lines]


def test_a_duplicate_answer_is_rejected(tmp_path):
    rows = [
        Generation(str(i), 'analysis', text, ANALYSIS)
        for i, text in enumerate((REVIEW, REVIEW.upper()))
    ]
    write_jsonl(tmp_path / 'answers.jsonl', rows)
    folder = build(tmp_path / 'corpus', tmp_path / 'answers.jsonl')
    assert [e.id for e in examples(folder)] == ['0']
    assert rejects(folder)[0]['reasons'] == ['duplicate']


def test_a_rejected_answer_leaves_its_place_to_the_next(tmp_path):
    rows = [Generation('1', 'rewriting', REVIEW, text) for text in ('I like it.', REWRITING)]
    write_jsonl(tmp_path / 'answers.jsonl', rows)
    folder = build(tmp_path / 'corpus', tmp_path / 'answers.jsonl')
    assert [e.target for e in examples(folder)] == [REWRITING]


def test_an_answer_asked_again_replaces_the_first_one_where_it_is_good(tmp_path):
    def answers(name, *outputs):
        path = tmp_path / name
        write_jsonl(
            path,
            [
                Generation(f'{n}', 'analysis', f'{REVIEW} {n}', text)
                for n, text in enumerate(outputs)
            ],
        )
        return path

    first = answers('first.jsonl', ANALYSIS + MADE_UP, ANALYSIS + MADE_UP, ANALYSIS)
    again = answers('again.jsonl', ANALYSIS, 'Sorry.')
    folder = build(tmp_path / 'corpus', first, {'again': str(again)}, {'filter': 'correct'})
    assert [(e.id, len(e.opinions)) for e in examples(folder)] == [('0', 2), ('1', 2), ('2', 2)]
    assert ['unsupported_target' in e.flags for e in examples(folder)] == [False, True, False]
    assert {r['id']: r['reasons'] for r in rejects(folder) if r['rejected']}['0'][-1] == 'duplicate'


def test_the_prompt_before_a_published_review_bears_no_target(tmp_path):
    answers = tmp_path / 'answers.json'
    row = {'prompt': 'Mind the shutter: ', 'Text': REVIEW, 'llama_response': ANALYSIS + MADE_UP}
    answers.write_text(json.dumps([row]))
    made = examples(build(tmp_path / 'corpus', answers))
    assert made[0].input == 'Mind the shutter: ' + REVIEW
    assert made[0].flags == ('unsupported_target',)


def test_half_characters_are_no_obstacle(tmp_path):
    answers = tmp_path / 'answers.json'
    answers.write_text(
        json.dumps([{'Text': REVIEW + '\ud83d', 'x_response': ANALYSIS + ' \udc00'}])
    )
    assert len(examples(build(tmp_path / 'corpus', answers))) == 1


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({}, 'CorpusConfig.answers is empty'),
        ({'answers': '/nowhere'}, 'does not exist'),
        ({'answers': 'ANSWERS', 'domains': ('garden',)}, "domains \\('garden',\\)"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, config, message):
    write_jsonl(tmp_path / 'answers.jsonl', [Generation('1', 'analysis', REVIEW, ANALYSIS)])
    config = {
        k: str(tmp_path / 'answers.jsonl') if v == 'ANSWERS' else v for k, v in config.items()
    }
    with pytest.raises(UserError, match=message):
        stages.run('corpus', (CorpusConfig(**config), FilterConfig()), tmp_path / 'corpus')
    assert [p.name for p in tmp_path.iterdir()] == ['answers.jsonl']


def test_a_raw_answer_is_not_corrected(tmp_path):
    with pytest.raises(UserError, match="'correct' needs CorpusConfig"):
        one(tmp_path, ANALYSIS, corpus={'targets': 'raw'}, filters={'filter': 'correct'})


def test_corpora_side_by_side(world, tmp_path, capsys):
    for kind in ('analysis', 'rewriting'):
        build(tmp_path / kind, world / 'corpus', {'kinds': (kind,), 'parquet': False})
    capsys.readouterr()
    assert (
        cli.main(['corpus', '--compare', str(tmp_path / 'analysis'), str(tmp_path / 'rewriting')])
        == 0
    )
    printed = capsys.readouterr().out
    assert 'analyses' in printed
    assert 'rewritings' in printed
    assert cli.main(['corpus', '--compare', str(tmp_path / 'analysis'), str(tmp_path)]) == 2
    assert 'has no quality.json' in capsys.readouterr().err


def test_raw_and_unrendered_do_not_go_together():
    with pytest.raises(UserError, match='needs CorpusConfig'):
        CorpusConfig(targets='raw', reasoning=False)

"""The commands of docs/your_reviews.md and docs/teacher.md, run as they stand there."""

import csv
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from random import Random

from fsa_jax import cli, manifest
from fsa_jax.configs import LabConfig
from fsa_jax.lab.teacher import Teacher
from fsa_jax.lab.world import DOMAINS, World
from fsa_jax.records import Review, write_jsonl
from tests.conftest import REPOSITORY
from tests.unit.corpus import dumps
from tests.unit.corpus.test_judge import label_studio, write_csv
from tests.unit.teacher.fake_server import FakeServer

TEACHER_PAGE = REPOSITORY / 'docs' / 'teacher.md'
LAB = LabConfig(corpus_reviews=60, error_made_up_target=0.3)


def bash_blocks(path: Path) -> list[str]:
    return re.findall(r'```bash\n(.*?)```', path.read_text(), re.DOTALL)


def run(blocks: list[str], folder: Path, **variables: str) -> str:
    environment = os.environ | variables
    environment['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{environment["PATH"]}'
    done = subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', '\n'.join(blocks)],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_your_reviews(tmp_path, tiny_spiece):
    """Part 2 first: it trains the student that part 1 uses."""
    blocks = bash_blocks(REPOSITORY / 'docs' / 'your_reviews.md')
    opinions = next(i for i, block in enumerate(blocks) if 'labels.csv' in block)
    mine = blocks[opinions:]
    run(mine, tmp_path, SPIECE=str(tiny_spiece), STUDENT='unused')
    scores = json.loads((tmp_path / 'scores' / 'scores.json').read_text())
    assert set(scores['tasks']) == {'user_labels'}
    assert (tmp_path / 'report' / 'report.html').stat().st_size > 10_000
    assert (tmp_path / 'exported' / 'model.safetensors').exists()

    printed = run(blocks[:opinions], tmp_path, SPIECE=str(tiny_spiece), STUDENT='mine')
    assert [line.split()[0] for line in printed.splitlines()] == ['r1', 'r2', 'r3']
    assert "['empty']" in printed
    rows = (tmp_path / 'opinions' / 'predictions.jsonl').read_text().splitlines()
    assert json.loads(rows[1])['extra'] == {'shop': 'south'}


def test_sampling(tmp_path):
    """The section of docs/teacher.md, on made dumps of the names and forms that it speaks of."""
    page = TEACHER_PAGE.read_text()
    section = page[page.index('## Sample') : page.index('## Prompts')]
    (tmp_path / 'section.md').write_text(section)
    count = 4000
    (tmp_path / 'yelp_academic_dataset_review.json').write_bytes(
        dumps.lines(map(dumps.yelp, range(count)))
    )
    packed = gzip.compress(dumps.lines(map(dumps.amazon_2023, range(count))))
    (tmp_path / 'Electronics.jsonl.gz').write_bytes(packed)
    with open(tmp_path / 'my_reviews.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['key', 'body', 'score'])
        writer.writerows((n, dumps.text(n), int(dumps.STARS[n])) for n in range(50))
    (tmp_path / 'downloads' / 'benchmark' / 'fsa').mkdir(parents=True)
    sentences = [{'sentence': dumps.text(n)} for n in range(3)]
    (tmp_path / 'downloads' / 'benchmark' / 'fsa' / 'test.json').write_text(json.dumps(sentences))
    printed = run(bash_blocks(tmp_path / 'section.md'), tmp_path)
    assert printed.count('holds a benchmark sentence') == 3
    for name, least in (('restaurant', 1000), ('computer', 1000), ('mine', 10)):
        reviews = (tmp_path / 'samples' / name / 'reviews.jsonl').read_text().splitlines()
        assert len(reviews) >= least


def commands(path: Path) -> list[list[str]]:
    """The words of every `fsa` command of a page, in order; a launch script says what it would run."""
    found = []
    for line in '\n'.join(bash_blocks(path)).replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0].startswith('./launch/'):
            asked = [REPOSITORY / words[0], '--dry-run', *words[1:]]
            told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
            words = shlex.split(told.splitlines()[-1])
        if words and words[0] == 'fsa':
            found.append(words[1:])
    return found


def published_answers(folder: Path) -> None:
    """What the page takes from elsewhere: a sample of reviews, and published answers to them."""
    reviews = list(World(LAB).reviews('restaurant', LAB.corpus_reviews))
    records = [Review(f'r{n}', r.text, 'restaurant', r.stars) for n, r in enumerate(reviews)]
    teacher = Teacher(LAB, DOMAINS['restaurant'], Random(0))
    answers = [
        {'ID': n, 'Text': r.text, 'Overall': r.stars, 'mixtral_response': teacher.answer('analysis', r)[0]}
        for n, r in enumerate(reviews)
    ]  # fmt: skip
    for name in ('samples/restaurant', 'downloads/corpus'):
        (folder / name).mkdir(parents=True)
    write_jsonl(folder / 'samples/restaurant/reviews.jsonl', records)
    for name in ('mixtral_answers.json', 'downloads/corpus/mixtral.json'):
        (folder / name).write_text(json.dumps(answers))


def rate(judged: Path) -> None:
    """Three raters fill in what the page exported for them."""
    with open(judged / 'for_raters' / 'ratings.csv', encoding='utf-8-sig', newline='') as file:
        rows = [row | dict.fromkeys(list(row)[-4:], n % 5 + 1) for n, row in enumerate(csv.DictReader(file))]  # fmt: skip
    for name in ('ann', 'bob'):
        write_csv(judged.parent / f'{name}.csv', rows)
    label_studio(judged.parent / 'label_studio_export.json', rows, 'cy')


def adapted(words: list[str], url: str) -> list[str]:
    """The command with the lab's teacher for one that needs a GPU, and a server here for one far away."""
    here = ['--gin.TeacherConfig.engine=openai', f'--gin.ServerConfig.url={url}', '--gin.TeacherConfig.model=fake']  # fmt: skip
    if words[0] in ('pack', 'in-context'):  # other tests run them
        return [*words, '--dry-run']
    if words[0] != 'teach' or any('engine=replay' in word for word in words):
        return words
    if any('engine=openai' in word or 'self_check' in word for word in words):
        return [*words, *here]
    lab = [f'--gin.LabConfig.{name}={getattr(LAB, name)}' for name in ('corpus_reviews', 'error_made_up_target')]  # fmt: skip
    return [*words, '--gin.TeacherConfig.engine=scripted', *lab]


def test_the_teachers_page(tmp_path, monkeypatch, capsys):
    """From a sample to rated answers; test_sampling has what comes before."""
    monkeypatch.chdir(tmp_path)
    published_answers(tmp_path)
    page = [words for words in commands(TEACHER_PAGE) if words[0] != 'sample']
    first = next(words for words in page if '--shard=0/8' in words)
    at = page.index(first) + 1
    others = [[w.replace('0/8', f'{n}/8').replace('shard-0', f'shard-{n}') for w in first] for n in range(1, 8)]  # fmt: skip
    page[at:at] = [*others, ['corpus', 'generations/all', '--output=corpus/all']]
    with FakeServer(says=lambda body: '1: holds\n2: wrong') as server:
        for words in page:
            if words[:2] == ['judge', 'score']:
                rate(tmp_path / 'judged')
            assert cli.main(adapted(words, server.url)) == 0, (words, capsys.readouterr().err)
    assert {words[0] for words in page} == {'teach', 'corpus', 'pack', 'judge', 'in-context'}
    counts = {
        path.parent.name: manifest.read(path.parent)['counts']
        for path in (tmp_path / 'corpus').glob('*/manifest.json')
    }
    assert counts['all']['answers'] == counts['restaurant']['answers'] == 2 * LAB.corpus_reviews
    assert counts['all']['reasons'].keys() >= {'unsupported_target'}
    assert counts['corrected']['asked_again'] > counts['mended']['asked_again'] > 0
    assert counts['checked']['reasons']['self_check'] > 0
    assert (tmp_path / 'corpus' / 'restaurant' / 'quality.html').stat().st_size > 10_000
    scores = json.loads((tmp_path / 'judged_scores' / 'judge.json').read_text())
    assert scores['raters'] == ['ann', 'bob', 'cy']

"""The commands of docs/your_reviews.md, run as they stand there."""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.unit.corpus import dumps


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
    page = (REPOSITORY / 'docs' / 'teacher.md').read_text()
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

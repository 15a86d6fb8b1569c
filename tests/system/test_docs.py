"""The commands of docs/your_reviews.md, run as they stand there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


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

"""The self-check: a teacher is shown its own analysis and asked which opinions hold.

`fsa corpus` writes the questions (`self_check/reviews.jsonl` and the template beside it), `fsa teach`
has them answered, and FilterConfig.self_check reads the answers:

    1: holds
    2: wrong
"""

import hashlib
import re
import shutil
from pathlib import Path
from typing import TextIO

from fsa_jax import manifest
from fsa_jax.corpus import analysis, fields
from fsa_jax.corpus.filters import Examined
from fsa_jax.data.corpus_files import read_answers
from fsa_jax.errors import UserError
from fsa_jax.records import Generation, Review, to_json

FOLDER = 'self_check'
_NAME = 16  # hex digits
_TEMPLATE = Path(__file__).parent / 'templates' / 'self_check' / 'analysis.txt'
_VERDICT = re.compile(
    r'\W*(?:opinion(?: target)?\s*)?#?(\d{1,3})\W{1,4}\s*(holds|wrong)', re.IGNORECASE
)


class Questions:
    """Writes a question for each analysis, as a sample that `fsa teach` reads."""

    def __init__(self, folder: Path):
        self._folder = folder / FOLDER
        self._asked: set[str] = set()

    def __enter__(self) -> 'Questions':
        self._folder.mkdir()
        shutil.copyfile(_TEMPLATE, self._folder / _TEMPLATE.name)
        path = self._folder / 'reviews.jsonl'
        self._file: TextIO = open(path, 'w', encoding='utf-8', errors='replace')
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def ask(self, read: Examined) -> None:
        """Asks about the opinions of an analysis; the numbers are those of Examined.opinions."""
        answer = read.answer
        name = name_of(answer)
        if read.opinions and name not in self._asked:
            self._asked.add(name)
            text = f'{read.source.text}\n\nAnalysis:\n{analysis.render(read.opinions)}'
            self._file.write(to_json(Review(name, text, answer.domain, answer.rating)) + '\n')


def name_of(answer: Generation) -> str:
    """What a question about an answer is called: a hash of it, since the ids of two files may repeat."""
    text = f'{answer.input}\0{answer.output}'.encode('utf-8', 'replace')
    return hashlib.sha256(text).hexdigest()[:_NAME]


def read_verdicts(path: str, out: manifest.Output) -> dict[str, frozenset[int]]:
    """{`name_of` an analysis: the numbers of the opinions that the teacher takes back}."""
    denied = {}
    folder, told = out.read('self_check', path), 0
    for answer, _ in read_answers(folder):
        verdicts = verdicts_of(answer.output)
        told += bool(verdicts)
        wrong = frozenset(number for number, holds in verdicts.items() if not holds)
        if wrong:
            denied[answer.id[:_NAME]] = wrong  # `fsa teach` adds the kind of prompt
    if not told:
        raise UserError(
            f"FilterConfig.self_check: no answer in {folder} says '1: holds' or '1: wrong'; expected the answers "
            f'to the questions in {FOLDER}/'
        )
    return denied


def verdicts_of(answer: str) -> dict[int, bool]:
    """{number of an opinion: whether it holds} of an answer; what is not a verdict is passed over.

    The first verdict of each counts: others are of a review that the teacher made up.
    """
    verdicts: dict[int, bool] = {}
    for line in answer.splitlines():
        if verdicts and fields.is_continuation(line):
            break
        if found := _VERDICT.match(line[:80]):
            verdicts.setdefault(int(found[1]), found[2].lower() == 'holds')
    return verdicts

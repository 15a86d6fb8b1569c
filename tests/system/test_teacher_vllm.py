"""The real engine: vLLM with a tiny random Llama made here, offline and as a server, killed and resumed.

All of it runs in the teacher's environment, in processes of its own. The reviews are real, the answers
are noise: what is tested is that every request is answered once, reproducibly and in the form asked for.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

import jsonschema
import pytest

from fsa_jax import cli
from fsa_jax.corpus import analysis
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.manifest import read
from fsa_jax.records import Generation, Review, read_jsonl, write_jsonl
from tests import training
from tests.conftest import REPOSITORY
from tests.unit.teacher.conftest import content

pytestmark = [pytest.mark.vllm, pytest.mark.data]

REVIEWS, FEW = 64, 16
SAMPLING = ['--gin.SamplingConfig.max_tokens=48', '--gin.TeacherConfig.part_size=32']
BRIEF_JSON = [
    "--gin.PromptConfig.kinds=('analysis',)", '--gin.PromptConfig.json=True',
    '--gin.PromptConfig.reasoning=False', '--gin.SamplingConfig.max_tokens=2900',
]  # fmt: skip


class Teacher:
    """Commands in the teacher's environment, in a folder with `reviews/` and the model `tiny/`."""

    def __init__(self, python, folder):
        self.python, self.folder = python, folder

    def start(self, *command, **options):
        quiet = {'VLLM_LOGGING_LEVEL': 'ERROR', 'PYTHONPATH': str(REPOSITORY)}
        return subprocess.Popen(
            [self.python, *command], cwd=self.folder, env=os.environ | quiet, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **options,
        )  # fmt: skip

    def arguments(self, output, *knobs):
        return [
            '-m', 'fsa_jax.cli', 'teach', '--gin.TeacherConfig.reviews=reviews', '--gin.TeacherConfig.model=tiny',
            '--gin.VLLMConfig.enforce_eager=True', '--gin.VLLMConfig.memory_fraction=0.1',
            '--gin.VLLMConfig.max_num_seqs=64', f'--output={output}', *knobs,
        ]  # fmt: skip

    def teach(self, output, *knobs, status=0):
        process = self.start(*self.arguments(output, *knobs))
        told = process.communicate(timeout=500)[0]
        assert process.returncode == status, told
        return told if status else self.folder / output


@pytest.fixture(scope='module')
def teacher(teacher_python, shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp('teacher')
    path = shared / 'data' / 'reviews' / 'yelp2_test.json'
    texts = [record['sentence'] for record in json.loads(path.read_text('utf-8-sig'))]
    (folder / 'reviews').mkdir()
    fit = [text for text in texts if 100 <= len(text) <= 899]
    reviews = [Review(f'yelp-{n}', text) for n, text in enumerate(fit[:REVIEWS])]
    write_jsonl(folder / 'reviews' / 'reviews.jsonl', reviews)
    (folder / 'few').mkdir()
    write_jsonl(folder / 'few' / 'reviews.jsonl', reviews[:FEW])
    (folder / 'texts.json').write_text(json.dumps(fit[REVIEWS:400]))
    made = Teacher(teacher_python, folder)
    process = made.start(REPOSITORY / 'tests' / 'tiny_llama.py', 'texts.json', 'tiny')
    told = process.communicate()[0]
    assert process.returncode == 0, told
    return made


@pytest.fixture(scope='module')
def unbroken(teacher):
    return teacher.teach('unbroken', *SAMPLING)


def answers(folder):
    return [g for part in sorted(folder.glob('part-*')) for g in read_jsonl(Generation, part)]


def test_every_request_is_answered_once(unbroken):
    found = answers(unbroken)
    assert [g.id for g in found] == [
        f'yelp-{n}-{kind}' for n in range(REVIEWS) for kind in ('analysis', 'rewriting')
    ]
    assert len({g.output for g in found}) == len(found)  # seeds differ
    counts = read(unbroken)['counts']
    assert counts['answered'] == 2 * REVIEWS
    assert counts['output_tokens'] > 40 * 2 * REVIEWS
    assert {g.finish_reason for g in found} <= {'length', 'stop'}


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(teacher, unbroken):
    process = teacher.start(*teacher.arguments('killed', *SAMPLING))
    side = teacher.folder / 'killed' / '.parts'
    until = time.monotonic() + 400
    while sum(len(p.read_bytes().splitlines()) for p in side.glob('*.journal')) < 20:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = len(content(teacher.folder / 'killed'))
    assert before < len(content(unbroken))
    assert content(teacher.teach('killed', *SAMPLING)) == content(unbroken)


def test_nothing_outlives_a_run_that_is_killed(teacher, monkeypatch):
    """On a GPU vLLM has a process of its own, which does not notice: here it is told to have one."""
    monkeypatch.setenv('VLLM_ENABLE_V1_MULTIPROCESSING', '1')
    process = teacher.start(*teacher.arguments('left', *SAMPLING))
    side, until = teacher.folder / 'left' / '.parts', time.monotonic() + 400

    def left():
        found = subprocess.run(['pgrep', '-s', str(process.pid)], stdout=subprocess.PIPE, text=True)
        return found.stdout.split()

    while not any(len(p.read_bytes().splitlines()) > 1 for p in side.glob('*.journal')):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
    assert len(left()) > 1
    process.kill()
    process.wait()
    while left():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.stdout.close()


def test_two_copies_of_the_model_give_the_same_bytes(teacher, unbroken):
    copies = teacher.teach('copies', *SAMPLING, '--gin.VLLMConfig.data_parallel_size=2')
    assert content(copies) == content(unbroken)


def test_analyses_as_json_are_all_valid(teacher):
    found = answers(teacher.teach('json', *BRIEF_JSON))
    assert len(found) == REVIEWS
    schema = analysis.schema(reasoning=False)
    for answer in found:
        jsonschema.validate(json.loads(answer.output), schema)
    assert sum(len(json.loads(a.output)['opinions']) for a in found) > 0


def test_an_over_long_review_is_set_aside(teacher, unbroken):
    reviews = list(read_jsonl(Review, teacher.folder / 'reviews' / 'reviews.jsonl'))
    (teacher.folder / 'long').mkdir()
    long = Review('long', 'qzx ' * 3000)
    write_jsonl(teacher.folder / 'long' / 'reviews.jsonl', [*reviews[:7], long, *reviews[7:16]])
    out = teacher.teach('aside', *SAMPLING, '--gin.TeacherConfig.reviews=long')
    aside = [
        json.loads(line)
        for line in (out / 'set_aside' / 'part-00000.jsonl').read_text().splitlines()
    ]
    assert [(a['review'], a['kind'], a['reason']) for a in aside] == [
        ('long', kind, 'too_long') for kind in ('analysis', 'rewriting')
    ]
    same = {g.id: g.output for g in answers(unbroken)}
    assert [g.output for g in answers(out)] == [same[g.id] for g in answers(out)]
    assert len(answers(out)) == 32


@contextlib.contextmanager
def server(teacher):
    """A vLLM server on a free port of loopback; yields the address of its API."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    process = teacher.start(
        '-m', 'vllm.entrypoints.openai.api_server', '--model', 'tiny', '--port', str(port), '--host', '127.0.0.1',
        '--enforce-eager', '--gpu-memory-utilization', '0.1', '--no-enable-chunked-prefill', '--max-num-seqs', '16',
        '--structured-outputs-config', '{"backend": "guidance", "disable_any_whitespace": true}', '--max-num-batched-tokens', '4096',
    )  # fmt: skip
    try:
        until = time.monotonic() + 400
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f'http://127.0.0.1:{port}/health', timeout=5)
                break
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.5)
        yield f'http://127.0.0.1:{port}/v1'
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_real_server_on_loopback(teacher, unbroken):
    over_http = ['--gin.TeacherConfig.engine=openai', '--gin.ServerConfig.concurrency=16']
    with server(teacher) as url:
        over_http.append(f'--gin.ServerConfig.url={url}')
        plain = teacher.teach('http', *SAMPLING, *over_http)
        few = '--gin.TeacherConfig.reviews=few'
        held = answers(teacher.teach('http_json', *BRIEF_JSON, *over_http, few))
        told = teacher.teach('wrong', *over_http, '--gin.TeacherConfig.model=tinny', status=2)
    assert [g.id for g in answers(plain)] == [g.id for g in answers(unbroken)]
    assert content(plain) == content(unbroken)  # the same seeds, the same answers
    assert len(held) == FEW
    for answer in held:
        jsonschema.validate(json.loads(answer.output), analysis.schema(reasoning=False))
    assert "serves no model 'tinny' (did you mean 'tiny'?)" in told
    assert 'Traceback' not in told


def test_a_model_that_is_not_there_is_one_line(teacher):
    told = teacher.teach('nowhere', '--gin.TeacherConfig.model=./nowhere', status=2)
    assert "fsa: vLLM cannot serve './nowhere'" in told
    assert 'Traceback' not in told
    assert not (teacher.folder / 'nowhere').exists()


def test_from_reviews_to_a_trained_step(teacher, shared, tiny_spiece, tmp_path):
    """sample, teach (the real engine), corpus, pack, train: each reads what the one before left."""

    def fsa(stage, output, **knobs):
        given = [f'--gin.{name.replace("__", ".")}={value}' for name, value in knobs.items()]
        assert cli.main([*stage.split(), *given, f'--output={tmp_path / output}']) == 0
        return tmp_path / output

    reviews = shared / 'data' / 'reviews' / 'yelp2_test.json'
    sample = fsa(
        f'sample {reviews}', 'sample', ReviewsConfig__size=12, ReviewsConfig__domain='restaurant',
        ReviewsConfig__text_field='sentence', ReviewsConfig__benchmarks=f"('{shared / 'data' / 'fsa'}',)",
    )  # fmt: skip
    generations = teacher.teach('sampled', *BRIEF_JSON, f'--gin.TeacherConfig.reviews={sample}')
    corpus = fsa(
        f'corpus {generations}', 'corpus', FilterConfig__filter='keep', CorpusConfig__reasoning=False,
        CorpusConfig__validation_fraction=0.2,
    )  # fmt: skip
    packed = fsa(
        'pack', 'packed', PackConfig__tasks='sentiment_analysis_corpus', PackConfig__corpus=corpus,
        VocabularyConfig__path=tiny_spiece,
    )  # fmt: skip
    student = {f'T5Config__{name}': value for name, value in training.STUDENT.items()}
    student['T5Config__vocab_size'] = Vocabulary.load(packed / 'vocabulary').size
    run = fsa(
        'train', 'run', TrainConfig__data=packed, TrainConfig__steps=1, RowsConfig__batch_size=4,
        TrainConfig__log_every=1, TrainConfig__validation_split='', **student,
    )  # fmt: skip
    lines = (run / 'metrics.jsonl').read_text().splitlines()
    losses = [row['loss'] for row in map(json.loads, lines) if 'loss' in row]
    assert losses
    assert all(0 < loss < 20 for loss in losses)
    asked = {g.input for g in answers(generations)}
    assert asked == {r.text for r in read_jsonl(Review, sample / 'reviews.jsonl')}


def test_the_benchmark_in_context(teacher, shared, tmp_path):
    process = teacher.start(
        '-m', 'fsa_jax.cli', 'in-context', '--gin.TeacherConfig.model=tiny', '--gin.InContextConfig.json=True',
        '--gin.InContextConfig.dataset=acsa_rest16', f'--gin.InContextConfig.data_dir={shared / "data"}',
        '--gin.InContextConfig.limit=16', '--gin.InContextConfig.k=3', '--gin.InContextConfig.choice=bm25',
        '--gin.VLLMConfig.enforce_eager=True', '--gin.VLLMConfig.memory_fraction=0.1',
        '--gin.InContextConfig.bootstrap=0', '--gin.SamplingConfig.max_tokens=400', '--output=in_context',
    )  # fmt: skip
    told = process.communicate(timeout=500)[0]
    assert process.returncode == 0, told
    out = teacher.folder / 'in_context'
    scores = json.loads((out / 'scores.json').read_text())
    assert (scores['cost']['answered'], scores['cost']['malformed']) == (16, 0)
    assert scores['cost']['seconds_per_1000'] > 0
    given = [f'--gin.ScoreConfig.predictions={out}', '--gin.ScoreConfig.bootstrap=0']
    assert cli.main(['score', *given, f'--output={tmp_path / "scores"}']) == 0
    scored = json.loads((tmp_path / 'scores' / 'scores.json').read_text())
    assert scored['tasks'] == scores['tasks']
    assert scored['tasks']['fsa_acsa_rest16']['subsets']['normal']['predicted'] > 0


def test_the_benchmark_of_the_stage_runs_on_a_toy(teacher, tmp_path):
    process = teacher.start(
        '-c', 'from tests.bench import harness, teaching; harness.main(teaching.main)', '--tiny',
        f'--output={tmp_path}',
    )  # fmt: skip
    told = process.communicate(timeout=500)[0]
    assert process.returncode == 0, told
    run = json.loads((tmp_path / 'bench_teaching.json').read_text())['cpu']
    assert [row['name'] for row in run['rows']] == ['LLM.generate', 'fsa teach']

"""`fsa teach` against a bare `LLM.generate` of vLLM, on the same prompts and seeds.

    FSA_VLLM=cpu ./launch/bench.sh teaching        (it runs in the teacher's environment)
    .venv-teacher/bin/python -m tests.bench.teaching [--tiny]

Both sides use one engine of one process in turn: a tiny random Llama, made here. The smaller the model, the
more an overhead shows. The bare side gets finished prompts and keeps the answers in memory; the stage reads
reviews, fills in templates and the chat template, and writes journals and part files.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ['VLLM_ENABLE_V1_MULTIPROCESSING'] = '0'

from fsa_jax import configs as c
from fsa_jax import stages
from fsa_jax.corpus.prompts import load_prompts
from fsa_jax.lab.world import DOMAINS, World
from fsa_jax.records import Generation, Review, read_jsonl, write_jsonl
from fsa_jax.teacher import run as teacher_run
from fsa_jax.teacher.engine import request_for
from fsa_jax.teacher.vllm_engine import VLLMEngine
from tests import tiny_llama
from tests.bench import harness

ANSWER_TOKENS = 254  # the mean of the 250 real answers, in tokens of T5


def main() -> None:
    flags = harness.arguments(__doc__ or '').parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Makes reviews and the model, times both sides, checks that they said the same."""
    count, tokens = (12, 8) if flags.tiny else (100, ANSWER_TOKENS)
    reviews = list(made_reviews(count))
    (folder / 'reviews').mkdir()
    write_jsonl(folder / 'reviews' / 'reviews.jsonl', reviews)
    tiny_llama.make([review.text for review in reviews], folder / 'model')
    sampling = c.SamplingConfig(max_tokens=tokens)
    vllm = c.VLLMConfig(enforce_eager=True, memory_fraction=0.1, max_num_seqs=64)
    engine = VLLMEngine(str(folder / 'model'), vllm, sampling)
    work = {
        'LLM.generate': lambda: bare(engine, folder, reviews, sampling),
        'fsa teach': lambda: staged(engine, folder, sampling, vllm),
    }
    rounds = flags.rounds or (1 if flags.tiny else 5)
    seconds = harness.alternate(work, rounds)
    if work['LLM.generate']() != work['fsa teach']():
        raise AssertionError('the sides gave different answers')
    requests = 2 * len(reviews)
    report = harness.Report(
        'teaching',
        {
            'requests': requests,
            'tokens an answer': tokens,
            'model': 'random Llama of 2 layers, hidden 64',
            'max_num_seqs': vllm.max_num_seqs,
            'rounds': rounds,
        },
        device=harness.device(),
    )
    for name in work:
        rates = [requests * tokens / s for s in seconds[name]]
        report.rows.append(harness.Row(name, 'tokens/s', rates, dtype='bfloat16'))
    report.ratio('LLM.generate / fsa teach', 'LLM.generate', 'fsa teach', at_most=1.05)
    report.publish(flags.output)


def made_reviews(count: int):
    """Reviews of the lab's world, several strung together."""
    world = World(c.LabConfig(corpus_reviews=4 * count))
    texts = [t.text for d in DOMAINS for t in world.reviews(d, 4 * count)]
    for number in range(count):
        yield Review(str(number), ' '.join(texts[4 * number : 4 * number + 4]), 'lab')


def requests_of(engine: VLLMEngine, folder: Path, reviews: list[Review], sampling):
    """What the stage asks, in its order."""
    prompts = load_prompts(c.PromptConfig())
    for review in reviews:
        for template in prompts.values():
            yield request_for(review, template.prompt(review), str(folder / 'model'), sampling)


def bare(engine: VLLMEngine, folder: Path, reviews: list[Review], sampling) -> list[str]:
    """One call of LLM.generate with prompts as token ids: nothing is left to do but to generate."""
    prompts, parameters = _prepared(engine, folder, reviews, sampling)
    outputs = engine.llm.generate(prompts, parameters, use_tqdm=False)
    return [output.outputs[0].text for output in outputs]


_PREPARED: list[tuple[list[Any], list[Any]]] = []


def _prepared(engine: VLLMEngine, folder: Path, reviews: list[Review], sampling):
    """Prompts and parameters of the bare side, made once, in the warm-up."""
    if not _PREPARED:
        asked = list(requests_of(engine, folder, reviews, sampling))
        prompts = [{'prompt_token_ids': engine.tokens(r)} for r in asked]
        _PREPARED.append((prompts, [engine.parameters(r) for r in asked]))
    return _PREPARED[0]


def staged(engine: VLLMEngine, folder: Path, sampling, vllm) -> list[str]:
    """The stage, whole, but for the start of the engine."""
    teacher_run.make_engine = lambda *_: _Kept(engine)
    config = c.TeacherConfig(
        model=str(folder / 'model'), reviews=str(folder / 'reviews'), part_size=64
    )
    configs = [config, sampling, c.PromptConfig(), vllm, c.ServerConfig(), c.LabConfig()]
    stages.run('teach', configs, folder / 'out', overwrite=True)
    parts = sorted((folder / 'out').glob('part-*'))
    return [g.output for part in parts for g in read_jsonl(Generation, part)]


class _Kept:
    """The engine, which closing leaves running."""

    def __init__(self, engine: VLLMEngine):
        self.teacher, self.answers = engine.teacher, engine.answers

    def close(self) -> None:
        pass


if __name__ == '__main__':
    harness.main(main)

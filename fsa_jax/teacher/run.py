"""The stage `teach`: asks a teacher about every review, in parts that survive any kill.

part-00000.jsonl, …   the answers (records.Generation), in the order of the reviews
set_aside/            what has no answer, each with a reason
"""

import hashlib
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from fsa_jax import manifest, progress
from fsa_jax.configs import (
    LabConfig,
    PromptConfig,
    SamplingConfig,
    ServerConfig,
    TeacherConfig,
    VLLMConfig,
)
from fsa_jax.corpus.prompts import load_prompts
from fsa_jax.corpus.reviews import read_reviews
from fsa_jax.data.shards import job_of
from fsa_jax.errors import UserError
from fsa_jax.records import Generation, Review
from fsa_jax.teacher.engine import Answer, Engine, Request, request_for
from fsa_jax.teacher.parts import Parts
from fsa_jax.teacher.replay import ReplayEngine, published_reviews


def run(
    out: manifest.Output,
    config: TeacherConfig,
    sampling: SamplingConfig,
    prompts: PromptConfig,
    vllm: VLLMConfig,
    server: ServerConfig,
    lab: LabConfig,
) -> None:
    """Writes the parts of one shard into `out`."""
    _check_knobs(config)
    templates = load_prompts(prompts)
    read = {'reviews': config.reviews, 'answers': config.answers, 'templates': prompts.templates}
    for name, path in read.items():
        if path:
            out.read(name, path)
    total = _check(config, prompts)

    def requests() -> Iterator[Request]:
        for review, kind in asked(config, prompts):
            yield request_for(review, templates[kind].prompt(review), model_name(config), sampling)

    engine = make_engine(config, sampling, vllm, server, lab)
    try:
        parts = Parts(out.folder, config.part_size, partial(_generation, engine))
        answer_all(engine, requests(), parts, total, 'teach')
    finally:
        engine.close()
    out.counts |= parts.counts | {
        'templates': {kind: f'{t.name}, version {t.version}' for kind, t in templates.items()},
        'shard': config.shard,
        'job': job_of(manifest.knobs([config, sampling, prompts, vllm, lab]), out.inputs),
    }
    progress.say(summary(parts.counts))


def answer_all(
    engine: Engine, requests: Iterable[Request], parts: Parts, total: int, name: str
) -> None:
    """Has every request answered that `parts` does not hold yet; shows progress."""
    start = parts.done()
    if start:
        progress.say(f'{name}: {start:,} of {total:,} requests were done before')
    with progress.track(name, total, 'requests', start=start) as bar:
        rates = _Rates()
        try:
            for request, answer in engine.answers(parts.pending(requests)):
                parts.put(request, answer)
                bar.update(1, **rates.after(answer))
        finally:
            parts.close()


def make_engine(
    config: TeacherConfig,
    sampling: SamplingConfig,
    vllm: VLLMConfig,
    server: ServerConfig,
    lab: LabConfig,
) -> Engine:
    """The engine that a config names; what it needs is imported here."""
    if config.engine in ('vllm', 'openai') and not config.model:
        raise UserError(f'TeacherConfig.model is empty: engine {config.engine!r} needs a model')
    if config.engine == 'scripted':
        from fsa_jax.teacher.scripted import ScriptedEngine

        return ScriptedEngine(lab)
    if config.engine == 'replay':
        return ReplayEngine(config.answers)
    if config.engine == 'openai':
        from fsa_jax.teacher.openai_engine import OpenAIEngine

        return OpenAIEngine(config.model, server, sampling)
    from fsa_jax.teacher.vllm_engine import VLLMEngine

    make = partial(VLLMEngine, config.model, vllm, sampling)
    if vllm.data_parallel_size == 1:
        return make()
    from fsa_jax.teacher.replicas import Replicas

    return Replicas(make, vllm.data_parallel_size, vllm.tensor_parallel_size, 2 * vllm.max_num_seqs)


def model_name(config: TeacherConfig) -> str:
    """The teacher's name in a request's identity."""
    return config.model or config.engine


def asked(config: TeacherConfig, prompts: PromptConfig) -> Iterator[tuple[Review, str]]:
    """(review, prompt kind) of every request of this shard, in order."""
    index, count = config.shard_of()
    if config.reviews:
        for number, review in enumerate(read_reviews(config.reviews)):
            if number % count == index:
                for kind in prompts.kinds:
                    yield review, kind
    else:
        for number, (review, kind) in enumerate(published_reviews(config.answers)):
            if number % count == index and kind in prompts.kinds:
                yield review, kind


def _check_knobs(config: TeacherConfig) -> None:
    if config.engine == 'replay' and not config.answers:
        raise UserError('TeacherConfig.answers is empty: replay needs published answers')
    if config.engine != 'replay' and not config.reviews:
        raise UserError('TeacherConfig.reviews is empty; expected the output of `fsa sample`')


def _check(config: TeacherConfig, prompts: PromptConfig) -> int:
    """How many requests there are. Reads every review once before the first is asked about, so that a
    broken line or a repeated id shows now and not after days."""
    seen = array('Q', (_short(review, kind) for review, kind in asked(config, prompts)))
    if not seen:
        raise UserError(f'there are no reviews to ask about (--shard={config.shard})')
    hashes = np.sort(np.frombuffer(seen, np.uint64))
    repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if repeated:
        name = next(r.id for r, kind in asked(config, prompts) if _short(r, kind) in repeated)
        raise UserError(f'review id {name!r} occurs more than once; ids must be unique')
    return len(seen)


def _short(review: Review, kind: str) -> int:
    """64 bits of a hash: a set of two million ids would not be small."""
    name = f'{review.id}\n{kind}'.encode('utf-8', 'surrogatepass')
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), 'big')


def _generation(engine: Engine, request: Request, answer: Answer) -> Generation:
    review, prompt = request.review, request.prompt
    return Generation(
        id=f'{review.id}-{prompt.kind}',
        kind=prompt.kind,
        input=answer.before + review.text,
        output=answer.text,
        domain=review.domain,
        rating=review.rating,
        teacher=answer.teacher or engine.teacher,
        prompt_hash='' if answer.teacher else prompt.hash,  # a replayed answer had its own prompt
        finish_reason=answer.finish_reason,
        prompt=answer.before,
    )


class _Rates:
    """Tokens a second and the share of prompt tokens that were in the prefix cache, of this run."""

    def __init__(self):
        self._began = time.monotonic()
        self._prompt = self._cached = self._output = 0

    def after(self, answer: Answer) -> dict[str, Any]:
        """What a progress bar shows once this answer is in."""
        self._prompt += answer.prompt_tokens
        self._cached += answer.cached_tokens
        self._output += answer.output_tokens
        seconds = max(time.monotonic() - self._began, 1e-9)
        hits = f'{self._cached / self._prompt:.0%}' if self._prompt else '-'
        return {'tokens/s': round(self._output / seconds), 'prefix hits': hits}


def summary(counts: Counter) -> str:
    """What became of the requests, in one line."""
    aside = {k.partition('/')[2]: n for k, n in counts.items() if k.startswith('set_aside/')}
    told = ', '.join(f'{n:,} {reason}' for reason, n in sorted(aside.items()))
    return (
        f'{counts["answered"]:,} of {counts["requests"]:,} requests answered, '
        f'{counts["output_tokens"]:,} tokens' + (f'; set aside: {told}' if told else '')
    )

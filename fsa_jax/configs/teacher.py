"""Asking a teacher: which engine, which model, how it samples."""

import re
from dataclasses import dataclass
from typing import Literal

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class TeacherConfig(Config):
    """The teacher and the reviews it is asked about."""

    engine: Literal['vllm', 'openai', 'replay', 'scripted'] = knob(
        'vllm',
        'vllm: on this machine; openai: any OpenAI-compatible server; replay: published answers; '
        "scripted: the lab's teacher",
    )
    model: str = knob('', 'vllm: Hugging Face name or folder; openai: the name the server knows')
    reviews: str = knob('', 'output of `fsa sample`; replay: empty takes those of the answers')
    answers: str = knob('', 'replay: file or folder of published answers, in any form of them')
    shard: str = knob('0/1', 'i/n: this run asks about every n-th review, from the i-th (from 0)')
    part_size: int = knob(1000, 'requests in a part file', low=1)

    def check(self):
        self.shard_of()

    def shard_of(self) -> tuple[int, int]:
        """(index from 0, number of shards)."""
        named = re.fullmatch(r'(\d+)/(\d+)', self.shard)
        index, count = (int(named[1]), int(named[2])) if named else (0, 0)
        if not index < count:
            raise UserError(
                f"--shard must be i/n with 0 <= i < n, such as '0/8'; got {self.shard!r}"
            )
        return index, count


@dataclass(frozen=True)
class SamplingConfig(Config):
    """How an answer is drawn. Each request has a seed of its own, made of its identity."""

    temperature: float = knob(0.7, '0 is greedy', low=0.0, high=2.0)
    top_p: float = knob(0.95, 'share of the probability that is sampled from', low=0.0, high=1.0)
    top_k: int = knob(0, 'sample from so many tokens; 0: all (not every server knows it)', low=0)
    max_tokens: int = knob(512, 'longest answer, tokens', low=1)
    stop: tuple[str, ...] = knob((), 'texts that end an answer, themselves left out')
    seed: int = knob(0, 'other seeds give other answers', low=0)

    def check(self):
        if not self.top_p:
            raise UserError('SamplingConfig.top_p=0 leaves no token; temperature=0 is greedy')
        if '' in self.stop:
            raise UserError('SamplingConfig.stop: an empty text would end every answer')


@dataclass(frozen=True)
class VLLMConfig(Config):
    """The vLLM engine (engine='vllm')."""

    revision: str = knob('', 'commit or tag of the model on the Hub')
    chat_template: str = knob('', "Jinja file instead of the tokenizer's own chat template")
    dtype: Literal['auto', 'bfloat16', 'float16', 'float32'] = knob(
        'auto', 'weights and activations'
    )
    quantization: str = knob('', "such as 'awq', 'gptq', 'fp8'; empty: as the model says")
    max_model_len: int = knob(0, 'prompt and answer together, tokens; 0: as the model says', low=0)
    tensor_parallel_size: int = knob(
        1, 'devices that share one copy of the model', low=1, free=True
    )
    data_parallel_size: int = knob(1, 'copies of the model on this machine', low=1, free=True)
    max_num_seqs: int = knob(256, 'answers written at once by one copy', low=1, free=True)
    memory_fraction: float = knob(
        0.0,
        "of a device's memory; 0: 0.9 of a GPU's, 0.4 of the main memory",
        low=0.0,
        high=1.0,
        free=True,
    )
    enforce_eager: bool = knob(False, 'no compilation: ready sooner, slower after', free=True)
    batch_invariant: bool = knob(
        False,
        'same bytes whatever is batched together, also on a GPU (slower; VLLM_BATCH_INVARIANT)',
    )


@dataclass(frozen=True)
class ServerConfig(Config):
    """The server (engine='openai'). The key comes from the environment alone: OPENAI_API_KEY."""

    url: str = knob('http://127.0.0.1:8000/v1', 'base address of the API', free=True)
    concurrency: int = knob(16, 'requests under way at once', low=1, high=1024, free=True)
    timeout_seconds: float = knob(300.0, 'for one answer', low=0.1, free=True)
    retries: int = knob(
        6, 'after a fault of the server, each after a longer pause', low=0, free=True
    )
    retry_seconds: float = knob(
        1.0, 'first pause; each is twice the last, up to 60', low=0.0, free=True
    )

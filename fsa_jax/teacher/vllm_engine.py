"""vLLM on this machine as an engine: the one door to vLLM.

Requests are fed to the engine's own scheduler while earlier ones are being answered, so that its batch
stays full across part files: `LLM.generate` would run dry at the end of each.
"""

import multiprocessing
import os
import subprocess
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fsa_jax.configs import SamplingConfig, VLLMConfig
from fsa_jax.errors import Unreachable, UserError, may_pass
from fsa_jax.teacher.engine import Answer, Request

_END: Any = object()
_MEMORY = {'cpu': 0.4, 'cuda': 0.9}  # share that vLLM may take: on a CPU others live in it too


class VLLMEngine:
    """One copy of a model, on as many devices as `tensor_parallel_size`."""

    def __init__(self, model: str, vllm: VLLMConfig, sampling: SamplingConfig):
        self.teacher, self._config, self._sampling = model, vllm, sampling
        _set_environment(vllm)
        warnings.simplefilter('ignore')  # of vLLM and what it imports; none is for our user
        try:
            from vllm import LLM
            from vllm.platforms import current_platform
        except ImportError as error:
            raise UserError(
                f"engine 'vllm' needs the teacher's environment: ./launch/teacher.sh makes it ({error})"
            ) from None
        if not current_platform.device_type:
            raise UserError(
                'vLLM finds no device: this is its GPU build and there is no GPU; '
                'FSA_VLLM=cpu ./launch/teacher.sh installs the CPU build'
            )
        on_cpu = current_platform.is_cpu()
        if on_cpu and vllm.batch_invariant:
            raise UserError(
                'VLLMConfig.batch_invariant is for GPUs: on a CPU the bytes are the same anyway'
            )
        try:
            self.llm = LLM(**_arguments(model, vllm, on_cpu))
        except Exception as error:  # whatever vLLM, transformers or the Hub raise
            kind = Unreachable if any(map(may_pass, _causes(error))) else UserError
            raise kind(f'vLLM cannot serve {model!r}: {_first_line(error)}') from error
        self._guard = _guard()
        self._tokenizer: Any = self.llm.get_tokenizer()
        self._template = _chat_template(self._tokenizer, vllm.chat_template)
        self._longest = self.llm.model_config.max_model_len

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Answer]]:
        """Answers as they are finished; a prompt that leaves no room for its answer is refused.

        None among the requests says that there is none just now (replicas.py). Unreachable when the
        engine dies, UserError for a prompt that it does not take.
        """
        engine, waiting = self.llm.llm_engine, iter(requests)
        under_way: dict[str, Request] = {}
        more = True
        while more or under_way:
            while more and len(under_way) < 2 * self._config.max_num_seqs:
                request = next(waiting, _END)
                if request is None or request is _END:
                    more = request is None
                    break
                if refused := self._add(request):
                    yield request, refused
                    continue
                under_way[request.key] = request
            try:
                finished = [o for o in engine.step() if o.finished] if under_way else []
            except Exception as error:
                raise _stopped(error) from error
            for output in finished:
                yield under_way.pop(output.request_id), _answer(output)

    def _add(self, request: Request) -> Answer | None:
        """Gives a request to vLLM's scheduler, unless its prompt is too long: then the refusal."""
        from vllm.inputs.engine import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            tokens = self.tokens(request)
            if refused := self._too_long(tokens):
                return refused
            given = tokens_input(tokens), self.parameters(request)
            self.llm.llm_engine.add_request(request.key, *given)
        except EngineDeadError as error:
            raise _stopped(error) from error
        except Exception as error:  # of the chat template, the tokenizer or vLLM
            raise UserError(f'vLLM cannot take a prompt: {_first_line(error)}') from error
        return None

    def tokens(self, request: Request) -> list[int]:
        """The ids of a prompt, by the tokenizer's chat template."""
        return self._tokenizer.apply_chat_template(
            list(request.prompt.messages),
            chat_template=self._template,
            add_generation_prompt=True,
            return_dict=False,
        )

    def close(self) -> None:
        """Stops the engine and what it started."""
        self.llm.llm_engine.engine_core.shutdown()
        self._guard.kill()
        self._guard.wait()

    def _too_long(self, tokens: list[int]) -> Answer | None:
        """One prompt beyond the model's length would stop the whole engine."""
        if len(tokens) + self._sampling.max_tokens <= self._longest:
            return None
        detail = f'{len(tokens)} + SamplingConfig.max_tokens={self._sampling.max_tokens} > {self._longest}'
        return Answer(refused='too_long', detail=f'tokens: {detail}')

    def parameters(self, request: Request) -> Any:
        """vLLM's SamplingParams of a request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        sampling, schema = self._sampling, request.prompt.schema
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            stop=list(sampling.stop),
            seed=request.seed,
            structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _set_environment(vllm: VLLMConfig) -> None:
    """vLLM and torch read these when they are imported."""
    os.environ.setdefault('VLLM_LOGGING_LEVEL', 'ERROR')
    os.environ.setdefault('VLLM_NO_USAGE_STATS', '1')
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    # FlashInfer's sampler is compiled by nvcc at the start, which images and nodes rarely have, and vLLM does
    # not use it for a request with a seed, which each of ours has.
    os.environ.setdefault('VLLM_USE_FLASHINFER_SAMPLER', '0')
    if vllm.batch_invariant:
        os.environ['VLLM_BATCH_INVARIANT'] = '1'


def _guard() -> subprocess.Popen[bytes]:
    """Ends vLLM's own processes when this one is killed: they would keep the devices for good.

    It waits for the end of its input, which this process holds open as long as it lives.
    """
    own = ' '.join(str(child.pid) for child in multiprocessing.active_children())
    return subprocess.Popen(
        ['sh', '-c', f'cat; kill -9 {own}'], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _arguments(model: str, vllm: VLLMConfig, on_cpu: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        'model': model,
        'revision': vllm.revision or None,
        'dtype': vllm.dtype,
        'quantization': vllm.quantization or None,
        'max_model_len': vllm.max_model_len or None,
        'tensor_parallel_size': vllm.tensor_parallel_size,
        'max_num_seqs': vllm.max_num_seqs,
        'gpu_memory_utilization': vllm.memory_fraction or _MEMORY['cpu' if on_cpu else 'cuda'],
        'enforce_eager': vllm.enforce_eager,
        'seed': 0,
        'use_tqdm_on_load': False,
        'enable_prefix_caching': True,
        # xgrammar lets control characters through; in free white space a weak model never ends
        'structured_outputs_config': {'backend': 'guidance', 'disable_any_whitespace': True},
    }
    if on_cpu:
        # there a request with a seed of its own kills the engine when its prefill is chunked
        os.environ.setdefault('VLLM_ENABLE_V1_MULTIPROCESSING', '0')
        arguments |= {'enable_chunked_prefill': False}
        if vllm.max_model_len:
            arguments |= {'max_num_batched_tokens': max(vllm.max_model_len, 2048)}
    return arguments


def _chat_template(tokenizer: Any, path: str) -> str:
    """The text of the chat template; UserError where there is none, or none that can be filled in."""
    if path and not Path(path).is_file():
        raise UserError(f'VLLMConfig.chat_template={path!r} is not a file')
    if not path and not tokenizer.chat_template:
        raise UserError(
            f'the tokenizer of {tokenizer.name_or_path!r} has no chat template; '
            'set VLLMConfig.chat_template to a Jinja file'
        )
    try:
        template = Path(path).read_text('utf-8') if path else tokenizer.chat_template
        tokenizer.apply_chat_template([{'role': 'user', 'content': ''}], chat_template=template)
    except Exception as error:  # whatever Jinja raises
        named = (
            f'VLLMConfig.chat_template={path!r}' if path else 'the chat template of the tokenizer'
        )
        raise UserError(f'{named} cannot be filled in: {_first_line(error)}') from None
    return template


def _answer(output: Any) -> Answer:
    said = output.outputs[0]
    return Answer(
        text=said.text,
        finish_reason=said.finish_reason or '',
        prompt_tokens=len(output.prompt_token_ids),
        output_tokens=len(said.token_ids),
        cached_tokens=output.num_cached_tokens or 0,
    )


def _stopped(error: Exception) -> Unreachable:
    return Unreachable(
        f'vLLM stopped: {_first_line(error)}. What was answered is kept: the same command goes on from there'
    )


def _causes(error: BaseException | None) -> Iterator[Exception]:
    """An error and what caused it, the innermost last."""
    while isinstance(error, Exception):
        yield error
        error = error.__cause__


def _first_line(error: Exception) -> str:
    """The innermost reason, in one line."""
    *_, innermost = _causes(error)
    return ' '.join(str(innermost).split())[:300] or type(innermost).__name__

"""What the vLLM engine says where it cannot run; the real one is in tests/system/test_teacher_vllm.py."""

import os
import sys
from types import ModuleType, SimpleNamespace

import jinja2
import pytest

from fsa_jax import configs as c
from fsa_jax.errors import UserError
from fsa_jax.records import Prompt, Review
from fsa_jax.teacher.engine import request_for
from fsa_jax.teacher.vllm_engine import VLLMEngine, _chat_template


def fake_vllm(monkeypatch, device_type='cuda', error=None):
    """A module that stands for vLLM on some machine."""

    def llm(**_):
        raise error

    modules = {
        'vllm': {'LLM': llm},
        'vllm.platforms': {
            'current_platform': SimpleNamespace(
                device_type=device_type, is_cpu=lambda: device_type == 'cpu'
            )
        },
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


def start(**knobs):
    return VLLMEngine('model', c.VLLMConfig(**knobs), c.SamplingConfig())


def test_without_vllm_the_script_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'vllm', None)
    with pytest.raises(UserError, match=r'launch/teacher\.sh makes it'):
        start()


def test_a_missing_gpu_is_named(monkeypatch):
    fake_vllm(monkeypatch, device_type='')
    with pytest.raises(UserError, match='there is no GPU'):
        start()


@pytest.mark.parametrize('own', ['', '1'])
def test_the_sampler_that_needs_nvcc_is_left_out_unless_the_user_wants_it(monkeypatch, own):
    monkeypatch.setenv('VLLM_USE_FLASHINFER_SAMPLER', own)
    if not own:
        monkeypatch.delenv('VLLM_USE_FLASHINFER_SAMPLER')
    fake_vllm(monkeypatch, error=RuntimeError('stop here'))
    with pytest.raises(UserError, match='stop here'):
        start()
    assert os.environ['VLLM_USE_FLASHINFER_SAMPLER'] == (own or '0')


def test_the_innermost_reason_is_told_in_one_line(monkeypatch):
    inner = ValueError('Free memory on device (3/79 GiB)\nis less than desired')
    outer = RuntimeError('Engine core initialization failed')
    outer.__cause__ = inner
    fake_vllm(monkeypatch, error=outer)
    with pytest.raises(UserError) as told:
        start()
    assert str(told.value) == (
        "vLLM cannot serve 'model': Free memory on device (3/79 GiB) is less than desired"
    )


class ConnectError(Exception):
    """As the library below huggingface_hub has it: no OSError."""


@pytest.mark.parametrize(
    ('cause', 'status'),
    [
        (ValueError('no such model'), 2),
        (ConnectionResetError('the Hub'), 75),
        (ConnectError('the Hub'), 75),
    ],
)
def test_a_start_that_may_succeed_later_is_told_from_one_that_cannot(monkeypatch, cause, status):
    error = RuntimeError('Engine core initialization failed')
    error.__cause__ = cause
    fake_vllm(monkeypatch, error=error)
    with pytest.raises(UserError, match='vLLM cannot serve') as told:
        start()
    assert told.value.status == status


class Dead(Exception):
    """What vLLM raises when its engine has died."""


def running(monkeypatch, **faults):
    """An engine whose chat template, scheduler or step raises what `faults` says."""

    def does(name):
        def call(*_, **__):
            if name in faults:
                raise faults[name]
            return []

        return call

    modules = {
        'vllm.inputs.engine': {'tokens_input': list},
        'vllm.v1.engine.exceptions': {'EngineDeadError': Dead},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    engine = VLLMEngine.__new__(VLLMEngine)
    engine._config, engine._sampling = c.VLLMConfig(), c.SamplingConfig()
    engine._template, engine._longest = '', 4096
    engine._tokenizer = SimpleNamespace(apply_chat_template=does('template'))
    scheduler = SimpleNamespace(add_request=does('add'), step=does('step'))
    engine.llm = SimpleNamespace(llm_engine=scheduler)
    monkeypatch.setattr(engine, 'parameters', lambda request: None)
    return engine


@pytest.mark.parametrize(
    ('faults', 'status', 'said'),
    [
        ({'template': RuntimeError('only user turns')}, 2, 'cannot take a prompt: only user turns'),
        ({'add': ValueError('too long')}, 2, 'cannot take a prompt: too long'),
        ({'add': Dead('EngineCore')}, 75, 'vLLM stopped: EngineCore'),
        ({'step': Dead('EngineCore')}, 75, 'vLLM stopped: EngineCore'),
    ],
)
def test_what_stops_a_run_is_a_prompt_or_a_crash(monkeypatch, faults, status, said):
    prompt = Prompt('1', 'analysis', ({'role': 'user', 'content': 'p'},), 'hash')
    request = request_for(Review('1', 'x'), prompt, 'model', c.SamplingConfig())
    with pytest.raises(UserError, match=said) as told:
        list(running(monkeypatch, **faults).answers([request]))
    assert told.value.status == status


def test_a_chat_template_that_is_none_is_one_line(tmp_path):
    def fill_in(turns, chat_template):
        return jinja2.Template(chat_template).render(messages=turns)

    tokenizer = SimpleNamespace(chat_template='', name_or_path='model', apply_chat_template=fill_in)
    path = tmp_path / 'chat.jinja'
    for content, said in (
        (b'{% if %}', 'cannot be filled in: Expected an expression'),
        (b'\xff', "cannot be filled in: 'utf-8' codec"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=said):
            _chat_template(tokenizer, str(path))
    path.write_text('{{ messages[0].content }}')
    assert _chat_template(tokenizer, str(path)) == '{{ messages[0].content }}'
    with pytest.raises(UserError, match="'model' has no chat template"):
        _chat_template(tokenizer, '')


@pytest.mark.parametrize('knobs', [{'top_p': 0.0}, {'stop': ('',)}])
def test_sampling_that_leaves_nothing_is_refused(knobs):
    with pytest.raises(UserError, match=f'SamplingConfig.{next(iter(knobs))}'):
        c.SamplingConfig(**knobs)


def test_batch_invariance_is_refused_where_it_is_not(monkeypatch):
    monkeypatch.setenv('VLLM_BATCH_INVARIANT', '0')  # restored afterwards
    fake_vllm(monkeypatch, device_type='cpu')
    with pytest.raises(UserError, match='is for GPUs'):
        start(batch_invariant=True)

"""Any OpenAI-compatible server as an engine: `vllm serve`, OpenAI itself, and many others.

Faults of the server or the line (429, 5xx, a hang, a cut or broken answer, a reset connection) are
tried again, each time after a longer pause drawn at random, or the pause the server asks for. A
request that the server refuses is set aside alone. The key comes from the environment and goes
into the header of the requests, nowhere else.
"""

import json
import os
import random
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from fsa_jax.configs import SamplingConfig, ServerConfig
from fsa_jax.errors import Unreachable, UserError, nearest
from fsa_jax.teacher.engine import Answer, Request

KEY_VARIABLE = 'OPENAI_API_KEY'
_LONGEST_PAUSE = 60.0  # seconds, unless the server asks for more
_LONGEST_ASKED = 3600.0  # seconds that a server may ask for
_LONGEST_MESSAGE = 200  # characters of what a server says of an error
_REFUSED = (400, 413, 422)  # this request is at fault
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)


class _Fault(Exception):
    """Something that may go well the next time. `pause`: seconds the server asks for."""

    def __init__(self, what: str, pause: float = 0.0, busy: bool = False):
        super().__init__(what)
        self.pause, self.busy = pause, busy


class OpenAIEngine:
    """Chat completions, `ServerConfig.concurrency` at once."""

    def __init__(self, model: str, server: ServerConfig, sampling: SamplingConfig):
        self.teacher, self._server, self._sampling = model, server, sampling
        self._key = _key()
        self._client = _client(server, self._key)
        self._stop = threading.Event()
        self._check_model()

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """Answers as they arrive; Unreachable when the server is dead, UserError for a wrong model or key."""
        waiting = iter(requests)
        under_way: dict[Future[Answer], Request] = {}
        failure: BaseException | None = None
        with ThreadPoolExecutor(self._server.concurrency) as pool:
            try:
                while True:
                    while failure is None and len(under_way) < self._server.concurrency:
                        request = next(waiting, None)
                        if request is None:
                            break
                        under_way[pool.submit(self._ask, request)] = request
                    if not under_way:
                        break
                    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                        request = under_way.pop(future)
                        if future.exception() is None:
                            yield request, future.result()
                        else:  # answers that are under way still count
                            failure = failure or future.exception()
                            self._stop.set()
            finally:
                self._stop.set()  # wakes those that pause before another try
        if failure:
            raise failure

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _check_model(self) -> None:
        """A wrong address, key or model is told before anything is asked, where the server lists its models."""
        try:
            models = self._trying(lambda: self._json('GET', 'models'), tries=2)
            names = [m['id'] for m in models['data']]
        except _Fault as fault:
            raise self._dead(fault) from None
        except (_Refusal, KeyError, TypeError):
            return  # not every server has such a list
        if self.teacher not in names:
            raise UserError(
                f'{self._server.url} serves no model {self.teacher!r}'
                f'{nearest(self.teacher, names)}; TeacherConfig.model may be one of: '
                f'{", ".join(names[:5])}'
            )

    def _ask(self, request: Request) -> Answer:
        """The answer to one request, whatever it takes."""
        body = self._body(request)
        try:
            return self._trying(
                lambda: _answer(self._json('POST', 'chat/completions', body)),
                tries=1 + self._server.retries,
            )
        except _Refusal as refusal:
            return Answer(refused=refusal.code, detail=str(refusal))
        except _Fault as fault:
            if self._stop.is_set() or fault.busy or not self._answers_another():
                raise self._dead(fault) from None
            return Answer(refused='server_error', detail=str(fault))

    def _answers_another(self) -> bool:
        """Whether the server answers a harmless request: then it is not dead, one request is at fault."""
        said = {'role': 'user', 'content': 'Say yes.'}
        try:
            _answer(self._json('POST', 'chat/completions', {
                'model': self.teacher, 'messages': [said], 'max_tokens': 1,
            }))  # fmt: skip
        except (_Fault, _Refusal):
            return False
        return True

    def _trying(self, call, tries: int) -> Any:
        """`call()`, again after a fault, up to `tries` times."""
        for number in range(tries):
            try:
                return call()
            except _Fault as fault:
                if number == tries - 1 or self._stop.is_set():
                    raise
                longest = min(_LONGEST_PAUSE, self._server.retry_seconds * 2**number)
                self._stop.wait(max(fault.pause, random.uniform(longest / 2, longest)))
        raise AssertionError('tries is at least 1')

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of a response; _Fault, _Refusal or UserError by what is wrong with it."""
        try:
            response = self._client.request(method, path, json=body)
        except httpx.UnsupportedProtocol as error:
            raise UserError(f'ServerConfig.url={self._server.url!r}: {error}') from None
        except httpx.RequestError as error:
            raise _Fault(
                f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
            ) from None
        said = self._without_key(_message(response))[:_LONGEST_MESSAGE]
        if response.status_code in _AGAIN:
            told = f'{response.status_code} {said}'
            raise _Fault(told, _retry_after(response), busy=response.status_code == 429)
        if response.status_code in _REFUSED:
            raise _Refusal(said)
        if response.status_code in (401, 403):
            raise UserError(
                f'{self._server.url} refuses the key ({response.status_code} {said}); '
                f'set {KEY_VARIABLE} in the environment'
            )
        if response.status_code != 200 and method == 'GET':
            raise _Refusal(said)
        if response.status_code != 200:
            raise UserError(
                f'{self._server.url}: {response.status_code} {said}; check ServerConfig.url (it ends '
                'in /v1 as a rule) and TeacherConfig.model'
            )
        try:
            return response.json()
        except ValueError:
            told = 'the response is not valid JSON'
            raise (_Refusal if method == 'GET' else _Fault)(told) from None

    def _body(self, request: Request) -> dict[str, Any]:
        sampling, prompt = self._sampling, request.prompt
        body: dict[str, Any] = {
            'model': self.teacher,
            'messages': list(prompt.messages),
            'temperature': sampling.temperature,
            'top_p': sampling.top_p,
            'max_tokens': sampling.max_tokens,
            'seed': request.seed,
        }
        if sampling.top_k:
            body['top_k'] = sampling.top_k
        if sampling.stop:
            body['stop'] = list(sampling.stop)
        if prompt.schema is not None:
            named = {'name': prompt.kind, 'schema': prompt.schema, 'strict': True}
            body['response_format'] = {'type': 'json_schema', 'json_schema': named}
        return body

    def _dead(self, fault: _Fault) -> Unreachable:
        return Unreachable(  # also at the start: a server that still loads its model refuses connections
            f'no answer from {self._server.url} ({self._without_key(str(fault))}); is the server up, its '
            'model loaded? What was answered is kept: the same command goes on from there'
        )

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, '***') if self._key else text


class _Refusal(Exception):
    """The server will not answer this request."""

    @property
    def code(self) -> str:
        """The reason it is set aside for."""
        lengths = ('context length', 'max_model_len', 'too long', 'maximum input length')
        return 'too_long' if any(words in str(self).lower() for words in lengths) else 'refused'


def _key() -> str:
    """The key of the environment, '' where there is none; UserError for what no header can hold."""
    key = os.environ.get(KEY_VARIABLE, '').strip()  # a secret that comes from a file ends its line
    if not (key.isascii() and key.isprintable()):
        raise UserError(f'{KEY_VARIABLE} holds characters that no key has; is it pasted whole?')
    return key


def _client(server: ServerConfig, key: str) -> httpx.Client:
    try:
        return httpx.Client(
            base_url=server.url.rstrip('/') + '/',
            headers={'Authorization': f'Bearer {key}'} if key else {},
            timeout=httpx.Timeout(
                server.timeout_seconds, connect=min(10.0, server.timeout_seconds)
            ),
            limits=httpx.Limits(
                max_connections=server.concurrency, max_keepalive_connections=server.concurrency
            ),
        )
    except httpx.InvalidURL as error:
        raise UserError(f'ServerConfig.url={server.url!r} is no address: {error}') from None


def _answer(content: Any) -> Answer:
    """The answer in a chat completion; _Fault where it is not one."""
    try:
        choice, usage = content['choices'][0], content.get('usage') or {}
        text = choice['message']['content'] or ''
        details = usage.get('prompt_tokens_details') or {}
        answer = Answer(
            text=text,
            finish_reason=choice.get('finish_reason') or '',
            prompt_tokens=int(usage.get('prompt_tokens') or 0),
            output_tokens=int(usage.get('completion_tokens') or 0),
            cached_tokens=int(details.get('cached_tokens') or 0),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise _Fault('the response is no chat completion') from None
    if not isinstance(text, str):
        raise _Fault('the response is no chat completion')
    return answer


def _message(response: httpx.Response) -> str:
    """What an error response says, on one line."""
    try:
        content = json.loads(response.text)
        error = content.get('error', content)
        said = error.get('message') if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = response.text
    return ' '.join(str(said or response.reason_phrase).split())


def _retry_after(response: httpx.Response) -> float:
    """Seconds of a Retry-After header, a number or a date, an hour at most; 0 without one."""
    value = response.headers.get('retry-after', '')
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return 0.0
    return min(max(0.0, seconds), _LONGEST_ASKED)

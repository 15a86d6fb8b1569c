"""An OpenAI-compatible server on loopback that misbehaves as it is told."""

import json
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeServer(ThreadingHTTPServer):
    """`faults(text, attempt)` names the fault of an attempt (from 0) to ask about a review, or ''; `says(body)`
    is its answer."""

    daemon_threads = True

    def __init__(
        self, faults=lambda text, attempt: '', says=lambda body: f'answer {body.get("seed")}'
    ):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.faults, self.says = faults, says
        self.attempts: Counter = Counter()
        self.times: list[float] = []
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        """A connection that a client gave up, or that was reset, is meant."""

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_address[1]}/v1'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        self._send(200, {'data': [{'id': 'fake'}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['content-length'])))
        text = body['messages'][-1]['content']
        server = self.server
        with server.lock:
            attempt = server.attempts[text]
            server.attempts[text] += 1
            server.times.append(time.monotonic())
            server.requests.append(body)
            server.headers.append({k.lower(): v for k, v in self.headers.items()})
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        try:
            self._answer(server.faults(text, attempt), body)
        finally:
            with server.lock:
                server.under_way -= 1

    def _answer(self, fault, body):
        said = {'content': self.server.says(body)}
        answer = {
            'choices': [{'message': said, 'finish_reason': 'stop'}],
            'usage': {'prompt_tokens': 10, 'completion_tokens': 3, 'prompt_tokens_details': None},
        }
        if fault.isdecimal():
            key = self.headers.get('authorization', '')
            self._send(int(fault), {'error': {'message': f'fault {fault} of {key}'}})
        elif fault == '422 at length':  # the key stands where a message is cut
            told = 'x' * 180 + f' The key is {self.headers["authorization"].split()[1]}'
            self._send(422, {'error': {'message': told}})
        elif fault == 'retry after':
            self._send(429, {'error': {'message': 'slow down'}}, {'Retry-After': '0.7'})
        elif fault == 'too long':
            self._send(
                400, {'error': {'message': "This model's maximum context length is 9 tokens"}}
            )
        elif fault == 'hang':
            time.sleep(1.5)
            self.close_connection = True
        elif fault == 'truncated':
            self._send(200, answer, {'Content-Length': '100000'})
            self.close_connection = True
        elif fault == 'reset':
            at_once = struct.pack('ii', 1, 0)  # closing sends RST, not FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            self.close_connection = True
            for end in (self.rfile, self.wfile, self.connection):
                end.close()
        elif fault == 'no json':
            self._send(200, b'{"choices": [{"mess')
        elif fault == 'no gzip':
            self._send(200, answer, {'Content-Encoding': 'gzip'})
        elif fault == 'other json':
            self._send(200, {'choices': []})
        elif fault == 'lone surrogate':
            said['content'] = 'half \ud83d a face'
            self._send(200, answer)
        elif fault == 'slow':
            time.sleep(0.3)
            self._send(200, answer)
        else:
            self._send(200, answer)

    def _send(self, status, content, headers=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({'Content-Length': str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Silent."""

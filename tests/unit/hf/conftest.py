"""A hub on the loopback that speaks what huggingface_hub asks of the real one, and keeps all it got."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jax
import numpy as np
import pytest
import yaml

from fsa_jax.model.t5 import abstract_params

TOKEN = 'hf_' + 'secretsecret'


@pytest.fixture
def params_of():
    """Parameters of a config, every number another one (`init_params` compiles for seconds)."""

    def make(config, seed=0):
        random = np.random.default_rng(seed)
        return jax.tree.map(
            lambda a: random.normal(size=a.shape).astype('f'), abstract_params(config)
        )

    return make


class FakeHub:
    """`files` by name as the last commit left them; `requests` are (method, path, body)."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, bytes]] = []
        self.created: dict | None = None
        self.may_create = True
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self):
                length = int(self.headers.get('Content-Length') or 0)
                body = self.rfile.read(length)
                hub.requests.append((self.command, self.path, body))
                authorised = (
                    self.path.startswith('/blob/')
                    or self.headers.get('Authorization') == f'Bearer {TOKEN}'
                )
                status, answer = (
                    hub.answer(self.command, self.path.split('?')[0], body)
                    if authorised
                    else (401, {'error': 'Invalid username or password.'})
                )
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header('Content-Type', 'application/json')
                if status == 404:
                    self.send_header('X-Error-Code', 'RepoNotFound')
                self.send_header('Content-Length', str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = handle_one

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}'

    def answer(self, method: str, path: str, body: bytes):
        if path == '/api/repos/create':
            if not self.may_create:
                return 403, {'error': 'This token may not create repositories'}
            if self.created is not None:
                return 409, {'error': 'You already created this model repo'}
            self.created = json.loads(body)
            return 200, {'url': f'{self.url}/ann/student', 'name': 'ann/student'}
        if path == '/api/validate-yaml':
            front = json.loads(body)['content'].split('---')[1]
            assert isinstance(yaml.safe_load(front), dict)
            return 200, {'errors': [], 'warnings': []}
        if path == '/api/models/ann/student/tree/main' and self.created is not None:
            return 200, [
                {'type': 'file', 'path': n, 'size': len(c), 'oid': '0' * 40}
                for n, c in self.files.items()
            ]
        if path == '/api/models/ann/student/preupload/main':
            files = json.loads(body)['files']
            large = ('.safetensors', '.model')
            return 200, {
                'files': [
                    {
                        'path': f['path'],
                        'uploadMode': 'lfs' if f['path'].endswith(large) else 'regular',
                        'shouldIgnore': False,
                    }
                    for f in files
                ]
            }
        if path == '/ann/student.git/info/lfs/objects/batch':
            objects = json.loads(body)['objects']
            return 200, {
                'transfer': 'basic',
                'objects': [
                    {**o, 'actions': {'upload': {'href': f'{self.url}/blob/{o["oid"]}'}}}
                    for o in objects
                ],
            }
        if method == 'PUT' and path.startswith('/blob/'):
            assert hashlib.sha256(body).hexdigest() == path.removeprefix('/blob/')
            self.blobs[path.removeprefix('/blob/')] = body
            return 200, {}
        if path == '/api/models/ann/student/commit/main':
            for line in body.splitlines():
                self.commit(**json.loads(line))
            return 200, {'commitUrl': f'{self.url}/ann/student/commit/1', 'commitOid': '1' * 40}
        return 404, {'error': f'not on this hub: {method} {path}'}

    def commit(self, key: str, value: dict):
        if key == 'file':
            self.files[value['path']] = base64.b64decode(value['content'])
        elif key == 'lfsFile':
            self.files[value['path']] = self.blobs[value['oid']]
        elif key == 'deletedFile':
            del self.files[value['path']]


@pytest.fixture
def fake_hub(monkeypatch):
    """The fake hub, running, with HF_ENDPOINT and HF_TOKEN set for it."""
    from huggingface_hub import constants

    hub = FakeHub()
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)  # Xet is a protocol of its own
    yield hub
    hub.server.shutdown()
    hub.server.server_close()

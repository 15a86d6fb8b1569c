"""Object stores that answer on this machine, and a gate before them that stops an upload midway."""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import fsspec

from tests.processes import free_port

BUCKET = 'bucket'
# Else gcsfs asks by gRPC, for a minute, what kind of bucket it is. It looks when it is imported.
PLAIN = {'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false'}
os.environ.update(PLAIN)


@dataclass(frozen=True)
class Server:
    """A store: the URL of its bucket, the port it listens on, and how fsspec comes to it from here."""

    url: str
    port: int
    options: dict

    def environment(self, port: int = 0) -> dict[str, str]:
        """With which another process finds it, at its port or at that of a gate."""
        at = f'http://127.0.0.1:{port or self.port}'
        if self.url.startswith('gs'):
            return {
                'STORAGE_EMULATOR_HOST': at,
                'TENSORSTORE_GCS_HTTP_URL': at,
                'FSSPEC_GCS': '{"token": "anon"}',
                **PLAIN,
            }
        return {
            'AWS_ENDPOINT_URL': at,
            'AWS_ACCESS_KEY_ID': 'nobody',
            'AWS_SECRET_ACCESS_KEY': 'nothing',
            'AWS_DEFAULT_REGION': 'us-east-1',
        }

    def read(self, name: str) -> bytes | None:
        """An object of the bucket; None where there is none."""
        try:
            return self._files().cat_file(f'{BUCKET}/{name}')
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Objects below a folder of the bucket."""
        return [
            path.removeprefix(f'{BUCKET}/') for path in self._files().find(f'{BUCKET}/{folder}')
        ]

    def download(self, folder: str, target: Path) -> Path:
        """Copies a folder of the bucket here."""
        for name in self.names(folder):
            path = target / name.removeprefix(f'{folder}/')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(name) or b'')
        return target

    def _files(self):
        protocol = self.url.partition(':')[0]
        return fsspec.filesystem(protocol, use_listings_cache=False, **self.options)


@contextlib.contextmanager
def s3() -> Iterator[Server]:
    """Moto's, with a bucket: all servers of this process have it in common."""
    from moto.server import ThreadedMotoServer

    port = free_port()
    running = ThreadedMotoServer(ip_address='127.0.0.1', port=port, verbose=False)
    running.start()
    options = {
        'endpoint_url': f'http://127.0.0.1:{port}',
        'key': 'nobody',
        'secret': 'nothing',
    }
    try:
        fsspec.filesystem('s3', **options).makedirs(BUCKET, exist_ok=True)
        yield Server(f's3://{BUCKET}', port, options)
    finally:
        running.stop()


@contextlib.contextmanager
def gcs() -> Iterator[Server]:
    """gcp-storage-emulator, with an empty bucket. It does not tell the generation of what it reads out,
    which tensorstore needs to write a file again."""
    from gcp_storage_emulator.handlers import objects
    from gcp_storage_emulator.server import create_server

    download = objects.download

    def with_generation(request, response, storage, *arguments, **options):
        download(request, response, storage, *arguments, **options)
        if response.status < 300:
            name = request.params['bucket_name'], request.params['object_id']
            response['x-goog-generation'] = storage.get_file_obj(*name)['generation']

    port = free_port()
    running = create_server('127.0.0.1', port, in_memory=True, default_bucket=BUCKET)
    running.start()
    options = {'endpoint_url': f'http://127.0.0.1:{port}', 'token': 'anon'}
    try:
        with mock.patch.object(objects, 'download', with_generation):
            yield Server(f'gs://{BUCKET}', port, options)
    finally:
        running.stop()


class Gate:
    """Passes connections on to a port. Once `shut`, the next request that names a checkpoint is not
    passed on, nor answered: `reached` is set."""

    def __init__(self, port: int):
        self._behind = port
        self.port = free_port()
        self.reached = threading.Event()
        self._shut, self._over = threading.Event(), threading.Event()

    def shut(self) -> None:
        """From now on no checkpoint passes."""
        self._shut.set()

    def __enter__(self) -> 'Gate':
        self._listening = socket.create_server(('127.0.0.1', self.port))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._listening.close()
        self._over.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(('127.0.0.1', self._behind))
                for source, target, watched in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pass, args=(source, target, watched), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, target: socket.socket, watched: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if watched and self._shut.is_set() and re.search(rb'checkpoints(/|%2F)\d', data):
                    self.reached.set()
                    self._over.wait()
                    break
                target.sendall(data)
            for end in (source, target):  # closing alone would wait for the other thread
                end.shutdown(socket.SHUT_RDWR)

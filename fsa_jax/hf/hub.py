"""Uploads an exported folder to the Hugging Face Hub. The token comes from HF_TOKEN alone."""

import os
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from fsa_jax import manifest
from fsa_jax.errors import UserError


def token() -> str:
    """HF_TOKEN of the environment; UserError where it is not set. It is never written or shown."""
    value = os.environ.get('HF_TOKEN', '').strip()
    if not value:
        raise UserError('ExportConfig.push_to_hub needs a write token in the environment: HF_TOKEN')
    return value


def push(folder: Path, repository: str, *, private: bool = True) -> str:
    """Uploads the files of an exported folder in one commit and returns its URL.

    The repository ('owner/name') is made where there is none; `private` applies only then. Weights
    of an earlier export that are not in `folder` are deleted. HF_ENDPOINT names another hub.
    """
    secret = token()
    api = HfApi(endpoint=os.environ.get('HF_ENDPOINT') or None, token=secret)
    files = sorted(
        p for p in folder.iterdir() if not p.name.startswith('.') and p.name != manifest.CONFIG
    )
    try:
        operations = [CommitOperationAdd(path.name, path) for path in files]
        stale = _weights_there(api, repository, private) - {path.name for path in files}
        commit = api.create_commit(
            repository,
            [*operations, *map(CommitOperationDelete, sorted(stale))],
            commit_message='Upload a T5 model with fsa_jax',
        )
    except Exception as error:  # the transport below huggingface_hub, and its errors, have changed
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f'ExportConfig.push_to_hub={repository!r} failed: {first.replace(secret, "***")}'
        ) from None  # the cause may quote the token, and a traceback would show it
    return str(commit.commit_url)


def _weights_there(api: HfApi, repository: str, private: bool) -> set[str]:
    """The weight files of the repository, which is made where there is none."""
    try:
        there = api.list_repo_files(repository)
    except RepositoryNotFoundError:  # only now: a token may be one that writes but does not create
        api.create_repo(repository, private=private)
        return set()
    return {name for name in there if Path(name).match('model*.safetensors*')}

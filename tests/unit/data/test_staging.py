"""A packed folder on a store that is not this host's disk."""

import json

import fsspec
import pytest

from fsa_jax import manifest
from fsa_jax.data.staging import staged
from fsa_jax.data.store import PackedFolder
from fsa_jax.errors import UserError
from tests import training


@pytest.fixture(scope='module')
def packed(tmp_path_factory, tiny_spiece):
    return training.pack(tmp_path_factory.mktemp('packed') / 'p', tiny_spiece, train=16)


@pytest.fixture(params=['memory', 'file'])
def url(request, packed, tmp_path):
    """The packed folder on a store."""
    where = 'memory://bucket/p' if request.param == 'memory' else f'file://{tmp_path}/store/p'
    files, root = fsspec.url_to_fs(where)
    files.makedirs(root, exist_ok=True)
    files.put(f'{packed}/', f'{root}/', recursive=True)
    yield where
    files.rm(root, recursive=True)


def test_a_copy_is_the_folder(url, packed, tmp_path):
    copy = staged(url, str(tmp_path / 'cache'))
    assert manifest.digest(copy) == manifest.digest(packed)
    assert len(PackedFolder(copy).store('t', 'train')) == 16
    assert [p.name for p in (tmp_path / 'cache').iterdir()] == [copy.name]


def test_the_folder_of_copies_may_be_a_link(url, tmp_path):
    """As a home is on many clusters."""
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'home').symlink_to(tmp_path / 'disk')
    assert len(PackedFolder(staged(url, str(tmp_path / 'home'))).store('t', 'train')) == 16


def test_a_second_start_copies_nothing(url, tmp_path):
    copy = staged(url, str(tmp_path / 'cache'))
    files, root = fsspec.url_to_fs(url)
    files.rm(f'{root}/t', recursive=True)
    assert staged(url, str(tmp_path / 'cache')) == copy


def test_what_arrives_damaged_is_not_used(url, tmp_path):
    files, root = fsspec.url_to_fs(url)
    content = bytearray(files.cat_file(f'{root}/t/train/tokens.bin'))
    content[3] ^= 1
    files.pipe_file(f'{root}/t/train/tokens.bin', bytes(content))
    with pytest.raises(UserError, match=r'tokens.bin is damaged'):
        staged(url, str(tmp_path / 'cache'))
    assert not list((tmp_path / 'cache').iterdir())


def test_what_is_missing_is_named(url, tmp_path):
    files, root = fsspec.url_to_fs(url)
    files.rm(f'{root}/t/train/ids.txt')
    with pytest.raises(UserError, match=r'ids.txt is missing'):
        staged(url, str(tmp_path / 'cache'))
    with pytest.raises(UserError, match='is not a finished output'):
        staged(f'{url}x', str(tmp_path / 'cache'))


def test_a_manifest_does_not_write_elsewhere(url, tmp_path):
    files, root = fsspec.url_to_fs(url)
    content = json.loads(files.cat_file(f'{root}/manifest.json'))
    content['files']['../../outside'] = content['files']['t/train/ids.txt']
    files.pipe_file(f'{root}/manifest.json', json.dumps(content).encode())
    with pytest.raises(UserError, match='lies outside'):
        staged(url, str(tmp_path / 'cache'))


def test_a_store_that_no_package_reads_is_named():
    with pytest.raises(UserError, match='nosuch'):
        staged('nosuch://bucket/p', '')


def test_a_local_folder_stays_where_it_is(packed):
    assert staged(str(packed), '') == packed

import json
import traceback

import pytest

from fsa_jax.errors import UserError
from fsa_jax.hf import hub

CARD = '---\nlanguage: en\n---\n# student\n'


@pytest.fixture
def exported(tmp_path):
    for name, content in {
        'README.md': CARD,
        'config.json': '{"model_type": "t5"}',
        'model.safetensors': 'weights',
        'spiece.model': 'pieces',
        'config.gin': "ExportConfig.model = '/home/ann/model'",
        '.job.json': '{}',
    }.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_every_file_arrives_in_one_commit(fake_hub, exported):
    url = hub.push(exported, 'ann/student', private=True)
    assert url == f'{fake_hub.url}/ann/student/commit/1'
    assert fake_hub.created['visibility'] == 'private'
    assert {n: c.decode() for n, c in fake_hub.files.items()} == {
        'README.md': CARD,
        'config.json': '{"model_type": "t5"}',
        'model.safetensors': 'weights',
        'spiece.model': 'pieces',
    }
    assert sum('/commit/' in path for _, path, _ in fake_hub.requests) == 1


def test_weights_of_an_earlier_export_are_deleted(fake_hub, exported):
    hub.push(exported, 'ann/student')
    (exported / 'model.safetensors').unlink()
    shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    for name in shards:
        (exported / name).write_text(name)
    hub.push(exported, 'ann/student')
    assert sorted(n for n in fake_hub.files if n.startswith('model')) == shards


def test_a_token_that_may_write_but_not_create(fake_hub, exported):
    fake_hub.may_create = False
    with pytest.raises(UserError, match=r'push_to_hub=.ann/student. failed: .*403'):
        hub.push(exported, 'ann/student')
    fake_hub.created = {}  # by somebody who may
    fake_hub.files['model-00001-of-00002.safetensors'] = b'stale'
    hub.push(exported, 'ann/student')
    assert [n for n in fake_hub.files if n.startswith('model')] == ['model.safetensors']


def test_the_token_is_nowhere_but_in_the_header(fake_hub, exported, capfd, monkeypatch):
    hub.push(exported, 'ann/student')
    secret = hub.token()
    assert not any(secret.encode() in body or secret in path for _, path, body in fake_hub.requests)
    assert not any(secret in p.read_text() for p in exported.iterdir())
    printed = capfd.readouterr()
    assert secret not in printed.out + printed.err


def test_a_wrong_token_is_one_line_without_it(fake_hub, exported, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', 'hf_wrongwrong')
    with pytest.raises(UserError, match=r'push_to_hub=.ann/student. failed: .*401') as caught:
        hub.push(exported, 'ann/student')
    assert 'wrongwrong' not in str(caught.value)
    assert '\n' not in str(caught.value)
    assert not fake_hub.files


def test_an_error_that_quotes_the_token_is_shown_without_it(fake_hub, exported, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(f'bad header: Bearer {hub.token()}')

    monkeypatch.setattr(hub.HfApi, 'create_commit', fail)
    with pytest.raises(UserError, match=r'bad header: Bearer \*\*\*$') as caught:
        hub.push(exported, 'ann/student')
    assert hub.token() not in ''.join(traceback.format_exception(caught.value))


def test_no_token_is_told(monkeypatch):
    monkeypatch.delenv('HF_TOKEN', raising=False)
    with pytest.raises(UserError, match='HF_TOKEN'):
        hub.token()


def test_a_hub_that_is_not_there(exported, monkeypatch):
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
    monkeypatch.setenv('HF_TOKEN', 'hf_x')
    with pytest.raises(UserError, match='push_to_hub'):
        hub.push(exported, 'ann/student')


def test_a_name_that_is_no_repository(fake_hub, exported):
    with pytest.raises(UserError, match='push_to_hub'):
        hub.push(exported, 'a/b/c')
    assert json.dumps(sorted(fake_hub.files)) == '[]'

"""The stages import and export, through the manifest, on a tiny model."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from fsa_jax import manifest, stages
from fsa_jax.configs import DownloadConfig, ExportConfig, ImportConfig, T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.hf.export import save_pretrained
from fsa_jax.hf.load import load_pretrained
from fsa_jax.hf.model_card import model_card
from fsa_jax.hf.stages import with_rows
from fsa_jax.train.checkpoint import open_model

TINY = T5Config(
    vocab_size=32, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_decoder_layers=1, num_heads=2
)


@pytest.fixture
def published(tmp_path, params_of, tiny_spiece):
    """A folder as published: no [NL], and rows to spare after its sentinels (T5: 28 of 32128)."""
    vocabulary = Vocabulary(tiny_spiece, newline_token=False)
    config = TINY.replace(vocab_size=vocabulary.size + 8)
    save_pretrained(tmp_path / 'published', config, params_of(config), vocabulary)
    return tmp_path / 'published'


def imported(tmp_path, published, name='model', **knobs):
    config = ImportConfig(folder=str(published), **knobs)
    stages.run('import', [config], tmp_path / name)
    return open_model(tmp_path / name)


def table(folder):
    return load_file(folder / 'model.safetensors')['shared.weight']


def test_import_then_export_is_the_same_file(tmp_path, published):
    model = imported(tmp_path, published)
    assert model.config == load_pretrained(published)[0]
    stages.run('export', [ExportConfig(model=str(model.folder))], tmp_path / 'out')
    for name in ('model.safetensors', 'config.json', 'tokenizer.json', 'spiece.model'):
        assert (tmp_path / 'out' / name).read_bytes() == (published / name).read_bytes()
    manifest.verify(tmp_path / 'out')


def test_a_newline_token_takes_a_spare_row(tmp_path, published):
    there = table(published)
    model = imported(tmp_path, published, newline_token=True)
    assert model.config.vocab_size == len(there)
    assert model.vocabulary.newline_id == len(there) - 8
    np.testing.assert_array_equal(model.load_params()['token_embedder']['embedding'], there)


def test_rows_are_cut_when_told(tmp_path, published):
    there = table(published)
    model = imported(tmp_path, published, newline_token=True, rows=len(there) - 7)
    assert model.config.vocab_size == model.vocabulary.size == len(there) - 7
    np.testing.assert_array_equal(model.load_params()['token_embedder']['embedding'], there[:-7])


def test_a_newline_token_without_a_spare_row_gets_one(tmp_path, published):
    exact = imported(tmp_path, published, 'exact', rows=len(table(published)) - 8)
    stages.run('export', [ExportConfig(model=str(exact.folder))], tmp_path / 'exact-hf')
    model = imported(tmp_path, tmp_path / 'exact-hf', newline_token=True)
    rows = model.load_params()['token_embedder']['embedding']
    assert len(rows) == model.vocabulary.size == exact.config.vocab_size + 1
    np.testing.assert_array_equal(rows[:-1], table(tmp_path / 'exact-hf'))
    # and one that has the token keeps it
    stages.run('export', [ExportConfig(model=str(model.folder))], tmp_path / 'nl-hf')
    again = imported(tmp_path, tmp_path / 'nl-hf', 'again')
    assert again.vocabulary.sha256 == model.vocabulary.sha256


def test_new_rows_resemble_the_old_and_follow_the_seed():
    random = np.random.default_rng(0)
    old = random.normal(3.0, 0.5, (100, 8)).astype(np.float32)
    params = {'token_embedder': {'embedding': old}, 'lm_head': {'embedding': -old}}
    config = TINY.replace(vocab_size=100, tie_word_embeddings=False)
    grown, new = with_rows(config, params, 400, seed=1)
    assert grown.vocab_size == 400
    for name, sign in (('token_embedder', 1), ('lm_head', -1)):
        rows = new[name]['embedding']
        np.testing.assert_array_equal(rows[:100], sign * old)
        assert abs(sign * rows[100:].mean() - 3.0) < 0.1
        assert abs(rows[100:].std() - 0.5) < 0.1
    _, same = with_rows(config, params, 400, seed=1)
    _, other = with_rows(config, params, 400, seed=2)
    np.testing.assert_array_equal(same['lm_head']['embedding'], new['lm_head']['embedding'])
    assert (other['lm_head']['embedding'] != new['lm_head']['embedding']).any()
    assert params['token_embedder']['embedding'] is old


def test_what_cannot_be_imported(tmp_path, published):
    rows = len(table(published))
    for knobs, message in (
        ({'folder': ''}, r'ImportConfig\.folder is empty'),
        ({'rows': 5}, r'ImportConfig\.rows=5 is too few: the vocabulary has \d+ ids'),
        ({'rows': rows - 8, 'newline_token': True}, r'is too few'),
    ):
        config = ImportConfig(**({'folder': str(published)} | knobs))
        with pytest.raises(UserError, match=message):
            stages.run('import', [config], tmp_path / 'model')
    (published / 'spiece.model').unlink()
    with pytest.raises(UserError, match=r'spiece\.model does not exist'):
        imported(tmp_path, published)
    assert not (tmp_path / 'model').exists()


def test_a_vocabulary_that_the_model_has_no_rows_for(tmp_path, published, params_of):
    small = TINY.replace(vocab_size=50)
    save_pretrained(published, small, params_of(small))
    with pytest.raises(UserError, match=r'needs \d+ rows, but the model has only 50'):
        imported(tmp_path, published)


@pytest.fixture
def scored(tmp_path, published):
    """A model, and scores whose manifest says they are of it, as predict and score leave them."""
    model = imported(tmp_path, published, newline_token=True)
    values = {'precision': 0.7, 'recall': 0.6, 'f1': 0.6461, 'strict_f1': 0.55, 'sentences': 1016}
    tasks = {
        'fsa_acsa_rest16': {'subsets': {'normal': {**values, 'f1_interval': [0.62, 0.67]}}},
    }
    with manifest.output(tmp_path / 'predictions', 'predict', []) as out:
        out.read('model', model.folder)
    with manifest.output(tmp_path / 'scores', 'score', []) as out:
        out.read('ScoreConfig.predictions', tmp_path / 'predictions')
        (out.folder / 'scores.json').write_text(json.dumps({'tasks': tasks}))
    return model, str(tmp_path / 'scores')


def test_the_card_states_data_config_and_scores(tmp_path, scored):
    model, scores = scored
    stages.run(
        'export', [ExportConfig(model=str(model.folder), scores=(scores,))], tmp_path / 'out'
    )
    card = (tmp_path / 'out' / 'README.md').read_text()
    _, front, text = card.split('---\n', 2)
    front = yaml.safe_load(front)
    assert front['library_name'] == 'transformers'
    (result,) = front['model-index'][0]['results']
    assert result['dataset']['type'] == 'fsa_acsa_rest16'
    assert result['metrics'][0]['value'] == 0.6461
    assert '| fsa_acsa_rest16 | normal | 1016 | 64.61 | 62.0-67.0 | 70.00 | 60.00 | 55.00 |' in text
    assert 'ImportConfig.folder: `published`, sha256' in text
    assert '`ImportConfig.newline_token = True`' in text
    assert '| d_model | 8 |' in text
    assert 'the token `[NL]`' in text
    assert str(tmp_path) not in card


def test_scores_of_one_name_are_all_inputs(tmp_path, scored):
    model, scores = scored
    other = tmp_path / 'other' / 'scores'
    shutil.copytree(scores, other)
    config = ExportConfig(model=str(model.folder), scores=(scores, str(other)))
    stages.run('export', [config], tmp_path / 'out')
    inputs = manifest.read(tmp_path / 'out')['inputs'].values()
    assert {scores, str(other)} <= {told['path'] for told in inputs}


def test_a_card_without_scores_says_so(tmp_path, published):
    model = imported(tmp_path, published)
    stages.run('export', [ExportConfig(model=str(model.folder))], tmp_path / 'out')
    card = (tmp_path / 'out' / 'README.md').read_text()
    assert 'Not measured.' in card
    assert 'model-index' not in card
    assert '[NL]' not in card  # the published vocabulary has no such token
    assert 'trained with' not in card  # it was, by others


def test_a_card_tells_that_a_model_was_trained(tmp_path, published):
    model = imported(tmp_path, published)
    told = json.loads((model.folder / 'manifest.json').read_text())
    (model.folder / 'manifest.json').write_text(json.dumps(told | {'stage': 'train'}))
    assert 'trained with fsa_jax.\n' in model_card('m', model, 0, ())


def test_a_card_shows_of_urls_their_last_part(tmp_path, published):
    with manifest.output(
        tmp_path / 'got', 'download', [DownloadConfig(mirror='http://my.host')]
    ) as out:
        shutil.copytree(published, out.folder, dirs_exist_ok=True)
    told = json.loads((tmp_path / 'got' / 'manifest.json').read_text())
    told['knobs']['DownloadConfig.name'] = 'https://bob:s3cret@other.host/a/b.bin?sig=s3cret'
    (tmp_path / 'got' / 'manifest.json').write_text(json.dumps(told))
    model = imported(tmp_path, tmp_path / 'got')
    card = model_card('m', model, 0, ())
    assert "`DownloadConfig.mirror = '…'`" in card
    assert "`DownloadConfig.name = 'b.bin'`" in card
    assert not re.search(r'my\.host|other\.host|s3cret', card)


def test_scores_of_another_model_are_refused(tmp_path, scored, published):
    other = imported(tmp_path, published, 'other')
    config = ExportConfig(model=str(other.folder), scores=(scored[1],))
    with pytest.raises(UserError, match=r'ExportConfig\.scores: .* scores the model .*model'):
        stages.run('export', [config], tmp_path / 'out')
    (tmp_path / 'empty').mkdir()
    config = ExportConfig(model=str(other.folder), scores=(str(tmp_path / 'empty'),))
    with pytest.raises(UserError, match=r'has no scores\.json'):
        stages.run('export', [config], tmp_path / 'out')


def test_export_uploads_what_it_wrote(tmp_path, published, fake_hub):
    model = imported(tmp_path, published)
    config = ExportConfig(model=str(model.folder), push_to_hub='ann/student', private=False)
    stages.run('export', [config], tmp_path / 'out')
    assert fake_hub.created['visibility'] == 'public'
    ours = {p.name: p.read_bytes() for p in (tmp_path / 'out').iterdir()}
    assert fake_hub.files.keys() == ours.keys() - {'manifest.json', 'config.gin'}
    assert all(ours[name] == content for name, content in fake_hub.files.items())
    assert b'# ann/student' in fake_hub.files['README.md']
    secret = b'hf_secretsecret'
    assert not any(secret in content for content in ours.values())


def test_a_missing_token_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.delenv('HF_TOKEN', raising=False)
    config = ExportConfig(model=str(tmp_path / 'not looked at'), push_to_hub='ann/student')
    with pytest.raises(UserError, match='HF_TOKEN'):
        stages.run('export', [config], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()

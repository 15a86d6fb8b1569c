"""Folders written by transformers read by us, and ours by transformers."""

import json

import jax
import numpy as np
import pytest
import torch
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.hf.export import save_pretrained
from fsa_jax.hf.load import load_pretrained
from fsa_jax.model.t5 import T5

ROWS = 300
TEXTS = (
    'the food was great \nbut  service slow',
    'battery life\n\nis very good[NL]',
    ' screen <extra_id_3> pasta </s> é ①',
    '',
    '\n',
)


@pytest.fixture(params=['v1.0', 'v1.1'])
def theirs(request):
    """A torch T5 with random weights, as transformers makes it."""
    torch.manual_seed(0)
    untied = request.param == 'v1.1'
    config = T5Config(
        vocab_size=ROWS,
        d_model=16,
        d_kv=4,
        d_ff=32,
        num_layers=3,
        num_decoder_layers=2,
        num_heads=3,
        feed_forward_proj='gated-gelu' if untied else 'relu',
        tie_word_embeddings=not untied,
        decoder_start_token_id=0,
    )
    config.tie_word_embeddings = not untied  # transformers 5 sets it to True on construction
    model = T5ForConditionalGeneration(config).eval()
    if untied:  # published v1.1 models share the table of embeddings, but not with the head
        model.encoder.embed_tokens.weight = model.shared.weight
        model.decoder.embed_tokens.weight = model.shared.weight
    return model


def reload(folder):
    model, info = AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info[key] for key in ('missing_keys', 'unexpected_keys', 'mismatched_keys'))
    return model.eval()


def assert_same_weights(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize('shards', ['single', 'sharded'])
def test_there_and_back_is_bit_exact(tmp_path, theirs, shards):
    theirs.save_pretrained(
        tmp_path / 'theirs', max_shard_size='5GB' if shards == 'single' else '9KB'
    )
    config, params = load_pretrained(tmp_path / 'theirs')
    save_pretrained(tmp_path / 'ours', config, params, shard_gb=5.0 if shards == 'single' else 9e-6)
    assert len(list((tmp_path / 'ours').glob('*.safetensors'))) > (shards == 'sharded')
    reloaded = reload(tmp_path / 'ours')
    assert_same_weights(reloaded, theirs)
    assert reloaded.config.scale_decoder_outputs == theirs.config.scale_decoder_outputs

    again_config, again = load_pretrained(tmp_path / 'ours')
    assert again_config == config
    for path, leaf in flatten_dict(again).items():
        np.testing.assert_array_equal(leaf, flatten_dict(params)[path])


def test_a_v1_1_model_that_transformers_made_with_one_table(tmp_path):
    config = T5Config(
        vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_decoder_layers=1, num_heads=2,
        feed_forward_proj='gated-gelu', tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip
    theirs = T5ForConditionalGeneration(config).eval()
    theirs.save_pretrained(tmp_path)
    assert 'lm_head.weight' not in load_file(tmp_path / 'model.safetensors')
    ours, params = load_pretrained(tmp_path)
    ids = torch.arange(3, 9)[None]
    with torch.no_grad():
        expected = theirs(input_ids=ids, decoder_input_ids=ids).logits.numpy()
    logits = T5(ours).apply({'params': params}, ids.numpy(), ids.numpy())
    assert np.abs(logits - expected).max() <= 2e-5 * np.abs(expected).max()


def test_logits_agree(tmp_path, theirs):
    theirs.save_pretrained(tmp_path / 'theirs')
    config, params = load_pretrained(tmp_path / 'theirs')
    random = np.random.default_rng(0)
    inputs = random.integers(1, ROWS, (2, 7))
    inputs[1, 4:] = 0
    targets = random.integers(1, ROWS, (2, 5))
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(inputs),
            attention_mask=torch.tensor((inputs != 0).astype(int)),
            decoder_input_ids=torch.tensor(targets),
        ).logits.numpy()
    logits = jax.jit(T5(config).apply)(
        {'params': params}, encoder_input_tokens=inputs, decoder_input_tokens=targets
    )
    assert np.abs(logits - expected).max() <= 2e-5 * np.abs(expected).max()


def test_bfloat16_files_are_read_exactly(tmp_path, theirs):
    theirs.to(torch.bfloat16).save_pretrained(tmp_path / 'theirs')
    config, params = load_pretrained(tmp_path / 'theirs')
    save_pretrained(tmp_path / 'ours', config, params)
    assert_same_weights(reload(tmp_path / 'ours'), theirs.to(torch.float32))


def test_generation_starts_and_ends_as_theirs(tmp_path, theirs):
    theirs.save_pretrained(tmp_path / 'theirs')
    save_pretrained(tmp_path / 'ours', *load_pretrained(tmp_path / 'theirs'))
    generation = GenerationConfig.from_pretrained(tmp_path / 'ours')
    assert generation.decoder_start_token_id == generation.pad_token_id == 0
    assert generation.eos_token_id == 1
    inputs = torch.tensor([[5, 6, 7, 1]])
    options = {'max_new_tokens': 8, 'do_sample': False}
    ours = reload(tmp_path / 'ours').generate(inputs, **options)
    assert torch.equal(ours, theirs.generate(inputs, **options))


def exported(tmp_path, theirs, vocabulary):
    theirs.save_pretrained(tmp_path / 'theirs')
    config, params = load_pretrained(tmp_path / 'theirs')
    save_pretrained(tmp_path / 'ours', config, params, vocabulary)
    return AutoTokenizer.from_pretrained(tmp_path / 'ours')


@pytest.mark.parametrize('nl_space', ['plain', 'released'])
def test_the_tokenizer_is_our_vocabulary(tmp_path, theirs, tiny_spiece, nl_space):
    vocabulary = Vocabulary(tiny_spiece, nl_space=nl_space)
    tokenizer = exported(tmp_path, theirs, vocabulary)
    assert len(tokenizer) == vocabulary.size
    assert tokenizer.convert_tokens_to_ids('[NL]') == vocabulary.newline_id
    assert tokenizer.convert_tokens_to_ids('<extra_id_0>') == vocabulary.newline_id - 1
    specials = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    assert specials == (0, 1, 2)
    for text in TEXTS:
        ids = vocabulary.encode(text)
        assert tokenizer(text.replace('\n', '[NL]')).input_ids == [*ids, 1]
        assert tokenizer.decode([*ids, 1], skip_special_tokens=True) == vocabulary.decode(ids)
    # Any version of transformers, and other languages, read the pipeline from this one file.
    alone = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / 'ours' / 'tokenizer.json'))
    for text in TEXTS:
        assert alone(text.replace('\n', '[NL]')).input_ids == [*vocabulary.encode(text), 1]


def test_without_a_newline_token(tmp_path, theirs, tiny_spiece):
    vocabulary = Vocabulary(tiny_spiece, newline_token=False)
    tokenizer = exported(tmp_path, theirs, vocabulary)
    assert len(tokenizer) == vocabulary.size
    for text in TEXTS:
        assert tokenizer(text).input_ids == [*vocabulary.encode(text), 1]


@pytest.mark.data
def test_the_t5_tokenizer_on_real_answers(tmp_path, theirs, shared):
    vocabulary = Vocabulary(shared / 'data' / 't5')
    theirs.resize_token_embeddings(vocabulary.size, mean_resizing=False)
    tokenizer = exported(tmp_path, theirs, vocabulary)
    assert (len(tokenizer), tokenizer.convert_tokens_to_ids('[NL]')) == (32101, 32100)
    lines = (shared / 'data/corpus/mixtral_250.json').read_text(encoding='utf-8-sig').splitlines()
    for line in lines:
        text = json.loads(line)['mixtral_response']
        ids = vocabulary.encode(text)
        assert tokenizer(text.replace('\n', '[NL]')).input_ids == [*ids, 1]
        assert tokenizer.decode(ids, skip_special_tokens=True) == vocabulary.decode(ids)

"""A Vocabulary as the tokenizer files of a Hugging Face folder, and back.

tokenizer.json holds the whole pipeline (the format of the `tokenizers` library), so that every
version of transformers gives the ids of our `Vocabulary.encode`; spiece.model lies beside it.
"""

import base64
import json
from pathlib import Path
from typing import Any

from fsa_jax.data.vocabulary import MODEL_FILE, NEWLINE, Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.hf.weights import read_json

_CONFIG, _PIPELINE = 'tokenizer_config.json', 'tokenizer.json'
_METASPACE = {'type': 'Metaspace', 'replacement': '▁', 'prepend_scheme': 'always', 'split': True}


def write(folder: Path, vocabulary: Vocabulary) -> None:
    """Writes spiece.model, tokenizer.json and tokenizer_config.json."""
    (folder / MODEL_FILE).write_bytes(vocabulary.model)
    for name, content in ((_PIPELINE, _pipeline(vocabulary)), (_CONFIG, _config(vocabulary))):
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / name).write_text(text + '\n', encoding='utf-8')


def read(folder: Path, *, newline_token: bool = False) -> Vocabulary:
    """The vocabulary of a folder: `[NL]` where its tokenizer has the token, or when asked to add it."""
    config = read_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    there = _newline_id(folder, config)
    released = config.get('nl_space') == 'released'
    vocabulary = Vocabulary(
        folder,
        extra_ids=config.get('extra_ids', 100),
        newline_token=newline_token or there is not None,
        nl_space='released' if released else 'plain',
    )
    if there is not None and there != vocabulary.newline_id:
        raise UserError(
            f'{folder}: {NEWLINE} is id {there} in its tokenizer; expected {vocabulary.newline_id}, '
            'after the pieces and the sentinels'
        )
    return vocabulary


def _newline_id(folder: Path, config: dict[str, Any]) -> int | None:
    """The id of `[NL]` in any of the files that transformers has kept added tokens in."""
    for number, token in config.get('added_tokens_decoder', {}).items():
        if token['content'] == NEWLINE:
            return int(number)
    if (folder / 'added_tokens.json').is_file():
        added = read_json(folder / 'added_tokens.json')
        if NEWLINE in added:
            return added[NEWLINE]
    if (folder / _PIPELINE).is_file():
        for token in read_json(folder / _PIPELINE).get('added_tokens', []):
            if token['content'] == NEWLINE:
                return token['id']
    return None


def _added_tokens(vocabulary: Vocabulary) -> dict[int, dict[str, Any]]:
    flags = {'single_word': False, 'lstrip': False, 'rstrip': False}
    tokens = {
        number: {'content': name, **flags, 'normalized': False, 'special': True}
        for name, number in vocabulary.special_ids.items()
    }
    if vocabulary.newline_id is not None:
        newline = {'content': NEWLINE, **flags, 'normalized': True, 'special': False}
        tokens[vocabulary.newline_id] = newline
    return dict(sorted(tokens.items()))


def _config(vocabulary: Vocabulary) -> dict[str, Any]:
    # transformers 5 builds T5Tokenizer's pipeline itself, without the word boundary of 'released'.
    plain = vocabulary.nl_space == 'plain'
    sentinels = [f'<extra_id_{i}>' for i in range(vocabulary.extra_ids)]
    return {
        'tokenizer_class': 'T5Tokenizer' if plain else 'PreTrainedTokenizerFast',
        'nl_space': vocabulary.nl_space,
        'extra_ids': vocabulary.extra_ids,
        'additional_special_tokens': sentinels,
        'pad_token': '<pad>',
        'eos_token': '</s>',
        'unk_token': '<unk>',
        'clean_up_tokenization_spaces': False,
        'model_max_length': 512,
        'added_tokens_decoder': _added_tokens(vocabulary),
    }


def _pipeline(vocabulary: Vocabulary) -> dict[str, Any]:
    sentinels = [[f'<extra_id_{i}>', 0.0] for i in reversed(range(vocabulary.extra_ids))]
    split = [{'type': 'WhitespaceSplit'}] if vocabulary.nl_space == 'plain' else []
    end = {'SpecialToken': {'id': '</s>', 'type_id': 0}}
    return {
        'version': '1.0',
        'truncation': None,
        'padding': None,
        'added_tokens': [{'id': i, **token} for i, token in _added_tokens(vocabulary).items()],
        'normalizer': _normalizer(vocabulary),
        'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [*split, _METASPACE]},
        'post_processor': {
            'type': 'TemplateProcessing',
            'single': [{'Sequence': {'id': 'A', 'type_id': 0}}, end],
            'pair': [
                {'Sequence': {'id': 'A', 'type_id': 0}},
                end,
                {'Sequence': {'id': 'B', 'type_id': 0}},
                end,
            ],
            'special_tokens': {
                '</s>': {'id': '</s>', 'ids': [vocabulary.eos_id], 'tokens': ['</s>']}
            },
        },
        'decoder': _METASPACE,
        'model': {
            'type': 'Unigram',
            'unk_id': vocabulary.unk_id,
            'vocab': [*map(list, vocabulary.pieces), *sentinels],
            'byte_fallback': False,
        },
    }


def _normalizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """SentencePiece's character map, and its squeezing of spaces."""
    steps: list[dict[str, Any]] = []
    # ModelProto.normalizer_spec = 3; NormalizerSpec.precompiled_charsmap = 2.
    charsmap = _field(_field(vocabulary.model, 3), 2)
    if charsmap:
        encoded = base64.b64encode(charsmap).decode()
        steps.append({'type': 'Precompiled', 'precompiled_charsmap': encoded})
    steps.append({'type': 'Replace', 'pattern': {'Regex': ' {2,}'}, 'content': ' '})
    return {'type': 'Sequence', 'normalizers': steps}


def _field(message: bytes, number: int) -> bytes:
    """A length-delimited field of a protobuf message (its last value; empty where it is absent)."""
    value, at = b'', 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(message, at)
            if tag >> 3 == number:
                value = message[at : at + length]
            at += length
        elif kind == 0:
            _, at = _varint(message, at)
        else:
            at += 8 if kind == 1 else 4
    return value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at

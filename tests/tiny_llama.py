"""Makes a tiny random Llama with a tokenizer and a chat template, for the real engine's tests.

Runs in the teacher's environment: `python tests/tiny_llama.py TEXTS.json FOLDER` (a JSON list of texts that
the tokenizer is trained on). What it writes is random: its answers mean nothing.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    '{{ bos_token }}{% for m in messages %}{% if m.role == "user" %}[INST] {{ m.content }} [/INST]'
    '{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}'
)


def make(texts: list[str], folder: Path) -> None:
    """A model of some 200,000 parameters; a head of 32 is the least that vLLM's CPU attention takes."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=['<s>', '</s>', '<pad>'],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token='<s>', eos_token='</s>', pad_token='<pad>'
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        dtype='float32',
    )
    LlamaForCausalLM(config).save_pretrained(folder)


if __name__ == '__main__':
    make(json.loads(Path(sys.argv[1]).read_text('utf-8')), Path(sys.argv[2]))

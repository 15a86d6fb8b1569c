"""Greedy and beam ids against transformers' torch T5, with weights that were trained for a while.

Random weights repeat one id for ever and would agree whatever the cache does; after some hundred
steps on made walks a sequence visits many ids, and ends or does not.
"""

import random

import pytest
import torch
import transformers

from fsa_jax.configs import DecodeConfig
from fsa_jax.decode import Generator
from fsa_jax.hf.load import load_pretrained

WALK, FIRST, VOCABULARY = 60, 10, 80  # ids FIRST .. FIRST + WALK - 1 are walked over
LENGTH = 99


def example(rng: random.Random) -> tuple[list[int], list[int]]:
    """A walk by +1 that ends at the last id, or one by +7 that goes on for ever (beyond LENGTH)."""
    place, endless = rng.randrange(WALK - 12), rng.random() < 0.4
    noise = [rng.randrange(FIRST, FIRST + WALK) for _ in range(rng.randrange(24))]
    source = [4 if endless else 3, FIRST + place, *noise, 1]
    if endless:
        return source, [FIRST + (place + 7 * i) % WALK for i in range(LENGTH + 3)]
    return source, [*range(FIRST + place, FIRST + WALK), 1]


def padded(rows: list[list[int]], value: int = 0) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


@pytest.fixture(scope='module', params=['relu', 'gated-gelu'])
def trained(request, tmp_path_factory):
    """(torch model, our config, our params, 64 inputs) after 250 steps of AdamW."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # faster for matrices of this size
    rng, tied = random.Random(0), request.param == 'relu'
    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        feed_forward_proj=request.param,
        tie_word_embeddings=tied,  # False: outputs are not scaled
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    config.tie_word_embeddings = tied  # which the constructor forces to True
    model = transformers.T5ForConditionalGeneration(config)
    model.set_input_embeddings(model.shared)  # v1.1 leaves only the output apart
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(250):
        sources, targets = zip(*(example(rng) for _ in range(16)))
        source = padded(sources)
        loss = model(source, (source != 0).long(), labels=padded(targets, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp('trained')
    model.eval().save_pretrained(folder)
    return model, *load_pretrained(folder), [example(rng)[0] for _ in range(64)]


def torch_ids(model, inputs, **settings) -> list[list[int]]:
    source = padded(inputs)
    with torch.inference_mode():
        rows = model.generate(
            source, attention_mask=(source != 0).long(), max_new_tokens=LENGTH, **settings
        )
    return [row[1:] for row in rows.tolist()]


def until_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(1)] if 1 in ids else ids


@pytest.mark.parametrize(
    ('settings', 'decode'),
    [
        ({'num_beams': 1}, DecodeConfig(batch_size=24)),
        (
            {'num_beams': 4, 'length_penalty': 1.0, 'early_stopping': False},
            DecodeConfig(method='beam', num_beams=4),
        ),
        (
            {'num_beams': 3, 'length_penalty': 0.4, 'early_stopping': True},
            DecodeConfig(method='beam', num_beams=3, length_penalty=0.4, early_stopping=True),
        ),
    ],
    ids=['greedy', 'beam-4', 'beam-3-early'],
)
def test_ids_equal_those_of_transformers(trained, settings, decode):
    model, config, params, inputs = trained
    expected = torch_ids(model, inputs, do_sample=False, **settings)
    assert all(len(set(until_end(ids))) >= 10 for ids in expected)
    ended = sum(1 in ids for ids in expected)
    assert 10 <= ended <= 54
    assert Generator(config, decode).generate(params, inputs, LENGTH) == [
        until_end(ids) for ids in expected
    ]

"""Log-likelihoods of continuations, all in one pass, against one torch forward for each."""

import numpy as np
import pytest
import torch
import transformers

from fsa_jax.decode.likelihood import LikelihoodScorer
from fsa_jax.hf.load import load_pretrained

LABELS = [[5, 6], [6], [7, 8, 9], [5, 9], [8]]  # two begin alike


@pytest.mark.parametrize('activation', ['relu', 'gated-gelu'])
def test_log_likelihoods_are_those_of_torch(activation, tmp_path):
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=40,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj=activation,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    model.save_pretrained(tmp_path)
    ours, params = load_pretrained(tmp_path)
    random = np.random.default_rng(0)
    inputs = [[*random.integers(2, 40, size).tolist(), 1] for size in (3, 9, 1, 40, 12, 7)]
    prefixes = [random.integers(2, 40, size).tolist() for size in (4, 0, 11, 1, 8, 3)]
    scores = LikelihoodScorer(ours, batch_size=4).score(params, inputs, prefixes, LABELS)
    for row, source, prefix in zip(scores, inputs, prefixes):
        expected = [torch_log_likelihood(model, source, prefix, label) for label in LABELS]
        assert row == pytest.approx(expected, abs=2e-5)
    assert np.ptp(scores) > 1.0


def torch_log_likelihood(model, source, prefix, label) -> float:
    with torch.inference_mode():
        decoder = torch.tensor([[0, *prefix, *label[:-1]]])
        logits = model(torch.tensor([source]), decoder_input_ids=decoder).logits[0]
    log_probs = logits.log_softmax(-1)[len(prefix) :]
    return float(sum(log_probs[i, token] for i, token in enumerate(label)))

"""The other side of the benchmarks: transformers' torch T5 with the published training loop."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import T5Config as TorchConfig
from transformers import T5ForConditionalGeneration

from fsa_jax.configs import T5Config
from tests.bench import harness
from tests.parity.torch_reference import AdamWScale, batch, padded

MICROBATCH = 20  # pairs, as published
Pair = tuple[list[int], list[int]]


def device() -> torch.device:
    """The GPU where torch has one, else the CPU with as many threads as JAX has."""
    if torch.cuda.is_available():
        return torch.device('cuda')
    torch.set_num_threads(harness.CORES)
    return torch.device('cpu')


def torch_config(config: T5Config) -> TorchConfig:
    """transformers' config of the same model."""
    names = (
        'vocab_size', 'd_model', 'd_kv', 'd_ff', 'num_layers', 'num_decoder_layers', 'num_heads',
        'feed_forward_proj', 'dropout_rate', 'decoder_start_token_id',
    )  # fmt: skip
    return TorchConfig(**{name: getattr(config, name) for name in names})


class Loop:
    """The published loop over fixed pairs: micro-batches padded to the longest, accumulation, clip,
    AdamWScale, dropout; weights float32, bfloat16 by autocast."""

    def __init__(self, config: T5Config):
        self.device = device()
        torch.manual_seed(0)
        self.model = T5ForConditionalGeneration(torch_config(config)).to(self.device).train()
        self.optimizer = AdamWScale(self.model.parameters(), lr=1e-3)

    def step(self, pairs: Sequence[Pair], dtype: str, *, grouped: bool = False) -> float:
        """One optimizer step on all `pairs`; its loss. `grouped`: pairs of like lengths together."""
        if grouped:
            pairs = sorted(pairs, key=lambda pair: (len(pair[1]), len(pair[0])))
        micro = [pairs[i : i + MICROBATCH] for i in range(0, len(pairs), MICROBATCH)]
        total = 0.0
        for chosen in micro:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == 'bfloat16'):
                loss = self.model(**self._batch(chosen)).loss / len(micro)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.device.type == 'cuda':
            torch.cuda.synchronize()
        return total

    def _batch(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        return {name: x.to(self.device) for name, x in batch(pairs).items()}


def generate(
    folder: Path, inputs: Sequence[Sequence[int]], length: int, dtype: str
) -> Callable[[], list[list[int]]]:
    """Greedy `generate` of the model in `folder`: ids without the start id, never stopped."""
    where = device()
    model = T5ForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype))
    model = model.to(where).eval()
    model.generation_config.eos_token_id = None

    def run() -> list[list[int]]:
        source = padded(inputs, 0).to(where)
        with torch.inference_mode():
            rows = model.generate(
                source,
                attention_mask=(source != 0).long(),
                max_new_tokens=length,
                do_sample=False,
                num_beams=1,
            )
        return [row[1:] for row in rows.tolist()]

    return run


def log_likelihoods(
    folder: Path,
    inputs: Sequence[Sequence[int]],
    prefix: Sequence[int],
    labels: Sequence[Sequence[int]],
    size: int,
) -> Callable[[], np.ndarray]:
    """log p(label | input, prefix) [N, C]: a forward pass for every batch and label."""
    where = device()
    model = T5ForConditionalGeneration.from_pretrained(folder).to(where).eval()
    order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i]))
    batches = [order[i : i + size] for i in range(0, len(order), size)]

    def run() -> np.ndarray:
        scores = np.zeros((len(inputs), len(labels)), np.float32)
        for rows in batches:
            source = padded([inputs[i] for i in rows], 0).to(where)
            for column, label in enumerate(labels):
                target = torch.tensor([[*prefix, *label]] * len(rows), device=where)
                with torch.inference_mode():
                    mask = (source != 0).long()
                    logits = model(source, attention_mask=mask, labels=target).logits
                chosen = logits[:, len(prefix) :].log_softmax(-1)
                ids = target[:, len(prefix) :, None]
                scores[rows, column] = chosen.gather(-1, ids).sum((1, 2)).cpu().numpy()
        return scores

    return run

"""The other side of the benchmarks: transformers' torch T5 with the published training loop."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import T5Config as TorchConfig
from transformers import T5ForConditionalGeneration

from fsa_jax.configs import T5Config
from tests.bench import harness

MICROBATCH = 20  # pairs, as published
Pair = tuple[list[int], list[int]]


class AdamWScale(torch.optim.Optimizer):
    """AdamW whose step is multiplied by max(1e-3, RMS(parameter)), parameter by parameter."""

    def __init__(self, params, lr: float, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
        defaults = {'lr': lr, 'betas': betas, 'eps': eps, 'weight_decay': weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):  # type: ignore[override]
        """One update by the gradients that the parameters hold."""
        for group in self.param_groups:
            for parameter in group['params']:
                self._update(parameter, self.state[parameter], **group)

    def _update(self, parameter, state, lr, betas, eps, weight_decay, **_):
        if not state:
            state |= {'step': 0, 'm': torch.zeros_like(parameter), 'v': torch.zeros_like(parameter)}
        state['step'] += 1
        (b1, b2), gradient = betas, parameter.grad
        state['m'].mul_(b1).add_(gradient, alpha=1 - b1)
        state['v'].mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        root = state['v'].sqrt().add_(eps)
        size = lr * (1 - b2 ** state['step']) ** 0.5 / (1 - b1 ** state['step'])
        rms = float(parameter.norm() / parameter.numel() ** 0.5)
        parameter.addcdiv_(state['m'], root, value=-size * max(1e-3, rms))
        if weight_decay:
            parameter.add_(parameter, alpha=-lr * weight_decay)


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
        inputs = padded([pair[0] for pair in pairs], 0)
        labels = padded([pair[1] for pair in pairs], -100)
        batch = {'input_ids': inputs, 'attention_mask': (inputs != 0).long(), 'labels': labels}
        return {name: x.to(self.device) for name, x in batch.items()}


def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows as one tensor, padded to the longest."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


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

"""The published recipe in torch and transformers: what our training is compared with.

Written from the description of the benchmark alone: padding, labels, loss, clipping, optimizers and
schedules are torch's, transformers' or spelt out here, and nothing comes from fsa_jax.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from transformers import T5ForConditionalGeneration, get_linear_schedule_with_warmup

Pair = tuple[Sequence[int], Sequence[int]]  # input and target ids, </s> included
PAD, IGNORED = 0, -100


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


class Recipe(NamedTuple):
    """An optimizer, and what advances its learning rate after each step."""

    optimizer: torch.optim.Optimizer
    advance: Callable[[], None]


def fine_tuning(model: torch.nn.Module, steps: int) -> Recipe:
    """AdamW, 3e-4 falling linearly to 0 over `steps`."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-4, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01
    )
    return Recipe(optimizer, get_linear_schedule_with_warmup(optimizer, 0, steps).step)


def distillation(model: torch.nn.Module, steps: int) -> Recipe:
    """AdamWScale, 3e-3 halved, cosine to 1e-5: as the schedule ran, one step late."""
    optimizer = AdamWScale(model.parameters(), lr=1.5e-3)
    cosine: LRScheduler = CosineAnnealingLR(optimizer, T_max=steps, eta_min=1e-5)
    done = 0

    def advance():
        nonlocal done
        done += 1
        if done > 1:
            cosine.step()

    return Recipe(optimizer, advance)


class Step(NamedTuple):
    """What a step saw: the loss that it minimised, its gradient's norm, its learning rate."""

    loss: float
    grad_norm: float
    learning_rate: float


def train(
    model: T5ForConditionalGeneration, recipe: Recipe, batches: Iterable[Sequence[Sequence[Pair]]]
) -> Iterator[Step]:
    """A step on each of `batches`, lists of micro-batches: the mean of their token means, clipped
    at a norm of 1."""
    model.train()
    for micro_batches in batches:
        loss = 0.0
        for pairs in micro_batches:
            part = model(**batch(pairs)).loss / len(micro_batches)
            part.backward()
            loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        learning_rate = recipe.optimizer.param_groups[0]['lr']
        recipe.optimizer.step()
        recipe.optimizer.zero_grad()
        recipe.advance()
        yield Step(loss, float(norm), learning_rate)


def batch(pairs: Sequence[Pair]) -> dict[str, torch.Tensor]:
    """What the model takes: rows padded to the longest of each side."""
    inputs = padded([source for source, _ in pairs], PAD)
    labels = padded([target for _, target in pairs], IGNORED)
    return {'input_ids': inputs, 'attention_mask': (inputs != PAD).long(), 'labels': labels}


def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows as one tensor, padded to the longest."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


def generate(
    model: T5ForConditionalGeneration, sources: Sequence[Sequence[int]], max_new_tokens: int = 99
) -> list[list[int]]:
    """Greedy ids of each source, without the start id."""
    inputs = padded(sources, PAD)
    with torch.inference_mode():
        rows = model.eval().generate(
            inputs,
            attention_mask=(inputs != PAD).long(),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
        )
    return [row[1:] for row in rows.tolist()]

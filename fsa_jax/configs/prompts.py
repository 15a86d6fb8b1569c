"""What a teacher is asked."""

from dataclasses import dataclass

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError, nearest

PROMPT_KINDS = ('analysis', 'rewriting')


@dataclass(frozen=True)
class PromptConfig(Config):
    """The prompts: which kinds, in which variant, with how many demonstrations."""

    kinds: tuple[str, ...] = knob(
        PROMPT_KINDS, "prompt kinds, each asked of every review: 'analysis', 'rewriting'"
    )
    reasoning: bool = knob(True, 'ask an analysis for the reasoning behind each sentiment')
    json: bool = knob(
        False, 'ask for an analysis as JSON, held to a schema where the engine can do so'
    )
    demonstrations: int = knob(0, 'worked examples before the review', low=0)
    seed: int = knob(0, 'seed that draws the demonstrations', low=0)
    templates: str = knob(
        '', 'folder of your own templates (*.txt, demonstrations.jsonl); what it lacks is ours'
    )

    def check(self):
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise UserError(
                f'PromptConfig.kinds must name each kind once, at least one; got {self.kinds!r}'
            )
        for kind in self.kinds:
            if kind not in PROMPT_KINDS:
                raise UserError(
                    f'PromptConfig.kinds: no prompt kind {kind!r}; expected '
                    f'{" or ".join(map(repr, PROMPT_KINDS))}{nearest(kind, PROMPT_KINDS)}'
                )

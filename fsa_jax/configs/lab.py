"""The embedded default: a synthetic world, and the quickstart."""

from dataclasses import dataclass

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError


@dataclass(frozen=True)
class LabConfig(Config):
    """A seeded world of synthetic reviews with known opinions, and a scripted teacher."""

    seed: int = knob(0, 'seed of the world', low=0)
    corpus_reviews: int = knob(3000, 'reviews of each domain the teacher answers', low=1)
    train_sentences: int = knob(400, 'labelled sentences of each benchmark', low=1)
    validation_sentences: int = knob(200, 'validation sentences of each benchmark', low=1)
    test_sentences: int = knob(400, 'test sentences of each benchmark', low=1)
    hard_test_sentences: int = knob(
        200, 'hard test sentences of each benchmark: implicit or of mixed polarity', low=1
    )
    implicit_share: float = knob(0.35, 'share of opinions worded implicitly', low=0.0, high=1.0)
    held_out_share: float = knob(
        0.12,
        'share of templates, terms and opinion words that only test sentences use',
        low=0.0,
        high=0.5,
    )
    error_wrong_sentiment: float = knob(0.05, 'teacher errors: polarity flipped', low=0.0, high=1.0)
    error_missed_target: float = knob(
        0.05, 'teacher errors: an opinion left out', low=0.0, high=1.0
    )
    error_made_up_target: float = knob(
        0.03, 'teacher errors: a target not in the review', low=0.0, high=1.0
    )
    error_malformed: float = knob(
        0.03, 'teacher errors: broken layout, notes, a cut answer', low=0.0, high=1.0
    )


@dataclass(frozen=True)
class DemoConfig(Config):
    """The quickstart: distil, fine-tune, score with and without distillation, export."""

    data: str = knob('', "real data: a folder with corpus/, fsa/ and t5/; empty: the lab's world")
    datasets: tuple[str, ...] = knob(
        ('atsa_lab_restaurant',), 'benchmark datasets, as in the task names fsa_DATASET'
    )
    seeds: tuple[int, ...] = knob((0, 1, 2), 'seeds of fine-tuning, for student and control alike')
    vocabulary_size: int = knob(2000, 'pieces of the vocabulary that is trained', low=100)
    input_length: int = knob(64, 'most input ids of the corpus', low=1)
    target_length: int = knob(128, 'most target ids of the corpus', low=1)
    row_encoder_length: int = knob(64, 'encoder slots of a packed row', low=1)
    row_decoder_length: int = knob(128, 'decoder slots of a packed row', low=1)
    distil_steps: int = knob(500, 'distillation steps', low=1)
    distil_batch: int = knob(24, 'packed rows a distillation step', low=1)
    distil_learning_rate: float = knob(1e-2, 'peak learning rate of distillation', low=0.0)
    fine_tune_epochs: float = knob(20.0, 'fine-tuning epochs', low=0.1)
    fine_tune_learning_rate: float = knob(1e-3, 'peak learning rate of fine-tuning', low=0.0)

    def check(self):
        for name in ('datasets', 'seeds'):
            if not getattr(self, name):
                raise UserError(f'DemoConfig.{name} is empty; expected at least one')

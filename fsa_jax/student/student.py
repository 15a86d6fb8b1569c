"""`Student`: a model, its vocabulary and its calibration, from texts to opinions."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import jax

from fsa_jax.configs import DecodeConfig, T5Config
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.decode.generator import Generated, Generator
from fsa_jax.decode.likelihood import LikelihoodScorer
from fsa_jax.errors import UserError, nearest
from fsa_jax.evaluate import f1
from fsa_jax.evaluate.constraints import Constraints
from fsa_jax.student import calibration, reading
from fsa_jax.student.extraction import FLAGS, Extraction, Found, merged
from fsa_jax.student.sentiment import SentimentScorer
from fsa_jax.student.windows import Window, windows

ANALYSIS_OPENING = 'Opinion Target 1:'


@dataclass(frozen=True)
class Task:
    """How one kind of answer is asked for.

    `joined`: whole reviews are read where they fit, else sentence by sentence. A student of both
    kinds of answer is told which by its first ids: they are `opening`, or not those.
    """

    limit: int  # most ids generated
    joined: bool
    opening: str = ''
    not_opening: str = ''


TASKS = {
    'atsa': Task(99, joined=False),
    'acsa': Task(99, joined=False),
    'analysis': Task(400, joined=True, opening=ANALYSIS_OPENING),
    'rewrite': Task(400, joined=True, not_opening=ANALYSIS_OPENING),
    'zero_shot': Task(400, joined=True, opening=ANALYSIS_OPENING),
}


class Student:
    """A student, ready to read. `Student.from_pretrained(folder).extract(texts)`."""

    def __init__(
        self,
        config: T5Config,
        params: Any,
        vocabulary: Vocabulary,
        *,
        calibrations: dict[str, calibration.Platt] | None = None,
        batch_size: int = 64,
        input_length: int = 128,
    ):
        """`input_length`: most ids of a part of a text that is read alone, `</s>` included."""
        self.config, self.vocabulary = config, vocabulary
        self.params = jax.device_put(params)  # once, not with every batch
        self.calibrations = calibrations or {}
        self.input_length = input_length
        self.batch_size = batch_size
        self._generator = Generator(config, DecodeConfig(batch_size=batch_size))
        self._scorer = LikelihoodScorer(config, batch_size)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        which: str = 'auto',
        seed: int | None = None,
        calibration_folder: str | Path = '',
        dtype: str = 'float32',
        **knobs: Any,
    ) -> 'Student':
        """A student out of a model folder (`fsa train`, `fsa import`), one of its checkpoints
        (`…/checkpoints/500`), an `fsa export` or another Hugging Face T5 folder. `seed` names one of
        those that trained together.

        The calibration is that of `calibration_folder`, an output of `fsa calibrate`; without one,
        that of the folder `calibration` inside the model's, if there is one, or inside `seed-SEED` there.
        """
        folder = Path(folder)
        config, params, vocabulary = _load(folder, which, seed)
        own = folder if seed is None else folder / f'seed-{seed}'
        found = calibration.read(Path(calibration_folder or own / 'calibration'))
        if calibration_folder and not found:
            raise UserError(f'{calibration_folder} has no {calibration.FILE} of `fsa calibrate`')
        return cls(config.replace(dtype=dtype), params, vocabulary, calibrations=found, **knobs)

    def extract(
        self,
        texts: Sequence[str],
        task: str = 'atsa',
        *,
        constrained: bool = False,
        categories: Sequence[str] = (),
        polarities: Sequence[str] = (),
        min_confidence: float = 0.0,
        max_new_tokens: int = 0,
        language: str = 'en',
    ) -> list[Extraction]:
        """The opinions of each text, in order. The same call gives the same answer.

        Args:
          texts: sentences or whole reviews.
          task: 'atsa' (term, polarity) and 'acsa' (category, polarity) of a fine-tuned student;
            'analysis' (term, aspect, level of five, reasoning), 'rewrite' (text alone) and
            'zero_shot' (terms and polarities out of an analysis, and `sentiment` of the whole) of a
            distilled one.
          constrained: write nothing but terms of the sentence, or of the inventory ('atsa', 'acsa').
          categories: the inventory of constrained 'acsa': names, or one file with one a line.
          polarities: those of a student of your own labels; empty: the benchmark's.
          min_confidence: opinions below it are abstained from.
          max_new_tokens: most ids written about one part of a text; 0: the task's own limit. What is
            cut there is flagged.
          language: of the texts, for cutting them into sentences (ISO 639-1).
        """
        if isinstance(texts, str):
            raise UserError('texts must be a list of texts; got one str')
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(f'texts[{number}] must be a text; got {text!r:.40}')
        if task not in TASKS:
            raise UserError(
                f'task must be one of {", ".join(TASKS)}; got {task!r}{nearest(task, TASKS)}'
            )
        parts = [self._windows(text, task, language) for text in texts]
        flat = [text[w.start : w.end] for text, ws in zip(texts, parts) for w in ws]
        metric = f'{task}:{",".join(polarities)}' if polarities else task
        constraints = self._constraints(metric, categories) if constrained else None
        length = max_new_tokens or TASKS[task].limit
        generated = self._generate(flat, task, metric, constraints, length)
        lost = constraints.lost if constraints else [0] * len(flat)
        answers = zip((w for ws in parts for w in ws), generated, lost)
        found = [
            self._read(text, list(islice(answers, len(ws))), task, metric, min_confidence)
            for text, ws in zip(texts, parts)
        ]
        return self._with_sentiment(found) if task == 'zero_shot' else found

    def log_likelihoods(self, inputs, prefixes, labels):
        """`LikelihoodScorer.score` with the student's parameters."""
        return self._scorer.score(self.params, inputs, prefixes, labels)

    def parts(self, text: str, language: str = 'en') -> list[str]:
        """A text as a distilled student reads it: whole, or in as few parts as hold it; never none."""
        return [text[w.start : w.end] for w in self._windows(text, 'analysis', language)] or [text]

    def _windows(self, text: str, task: str, language: str) -> list[Window]:
        return windows(
            text,
            lambda part: len(self.vocabulary.encode(part)) + 1,
            self.input_length,
            language=language,
            join=TASKS[task].joined,
        )

    def _constraints(self, metric: str, categories: Sequence[str]) -> Constraints:
        if metric.partition(':')[0] not in f1.TASKS:
            raise UserError(f"constrained=True is for 'atsa' and 'acsa'; got {metric!r}")
        return Constraints(self.vocabulary, categories)

    def _generate(self, parts, task, metric, constraints, length) -> list[Generated]:
        settings, encode = TASKS[task], self.vocabulary.encode
        inputs = [[*ids, self.vocabulary.eos_id] for ids in self.vocabulary.encode_batch(parts)]
        return self._generator.generate_scored(
            self.params,
            inputs,
            length,
            automata=constraints and constraints.automata(metric, parts),
            prefix=encode(settings.opening),
            barred=encode(settings.not_opening)[:1],
        )

    def _read(self, text, answers, task, metric, min_confidence) -> Extraction:
        """One text's answers, part by part, as one extraction."""
        found: list[Found] = []
        written: list[str] = []
        flags = dict.fromkeys(FLAGS, False) | {'empty': not text.strip()}
        for window, generated, lost in answers:
            pieces = self.vocabulary.decode_pieces(generated.ids)
            answer = reading.Answer(pieces, generated.log_probs)
            part = text[window.start : window.end]
            opinions, malformed = reading.read(task, metric, answer, part, window.start)
            found += opinions
            written.append(answer.text)
            flags['split'] |= window.split
            flags['cut'] |= not generated.ended
            flags['malformed'] |= malformed
            flags['unrepresentable'] |= lost > 0
        told = self._calibrated(merged(found), task)
        return Extraction(
            text=text,
            opinions=tuple(o for o in told if o.confidence >= min_confidence),
            abstained=tuple(o for o in told if o.confidence < min_confidence),
            generated=tuple(written),
            flags=tuple(name for name, there in flags.items() if there),
        )

    def _calibrated(self, opinions: Sequence[Found], task: str) -> Sequence[Found]:
        scale = self.calibrations.get(task)
        if scale is None:
            return opinions
        return [
            dataclasses.replace(o, confidence=scale(o.confidence), calibrated=True)
            for o in opinions
        ]

    def _with_sentiment(self, found: list[Extraction]) -> list[Extraction]:
        """Each with the sentiment of its whole text."""
        scorer = SentimentScorer(self)
        chances = scorer.of_texts([one.text for one in found])
        return [dataclasses.replace(one, sentiment=c) for one, c in zip(found, chances)]


def _load(folder: Path, which: str, seed: int | None) -> tuple[T5Config, Any, Vocabulary]:
    from fsa_jax.hf import load, tokenizer
    from fsa_jax.train import checkpoint

    if (folder / load.CONFIG).is_file():
        config, params = load.load_pretrained(folder)
        return config, params, tokenizer.read(folder)
    if folder.parent.name == checkpoint.CHECKPOINTS and folder.name.isdigit():
        folder, which = folder.parent.parent, folder.name
    model = checkpoint.open_model(folder)
    return model.config, model.load_params(which, seed=seed), model.vocabulary

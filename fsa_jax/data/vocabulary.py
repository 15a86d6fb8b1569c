"""T5's SentencePiece vocabulary with the token `[NL]`: text <-> ids. Pure Python.

The rows of a T5 vocabulary, with the ids of the published one:

    0 <pad>   1 </s>   2 <unk>   3 … 31999 pieces   32099 … 32000 <extra_id_0> … <extra_id_99>   32100 [NL]

SentencePiece drops newlines, which teachers use to lay out their answers, so a newline is one token
of its own. Text is cut at `[NL]`, and at the names of special ids as transformers cuts it, each part
is encoded alone by SentencePiece, and the parts are joined by those ids.

Known differences from transformers' fast tokenizer: which of two equally likely segmentations is
taken ('Hmmm', '.......'), and U+0085, which it takes for a space and SentencePiece does not know.
"""

import functools
import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import sentencepiece
from jaxtyping import Int32, Int64

from fsa_jax import manifest
from fsa_jax.configs import T5Config, VocabularyConfig
from fsa_jax.data.json_records import without_halves
from fsa_jax.errors import UserError

NEWLINE = '[NL]'
MODEL_FILE = 'spiece.model'
SETTINGS_FILE = 'vocabulary.json'
_SPACE = '▁'  # SentencePiece's mark of a word boundary


class Vocabulary:
    """A SentencePiece model with sentinels after its pieces and `[NL]` after those.

    `model` is spiece.model or a folder that holds it. `nl_space` says what a space before a newline
    becomes: nothing ('plain', as SentencePiece and transformers 5 have it), or a word boundary of
    its own ('released', as transformers 4.36 had it at the end of any part, when the paper ran).
    """

    pad_id = 0
    eos_id = 1
    unk_id = 2

    def __init__(
        self,
        model: Path | str,
        *,
        extra_ids: int = 100,
        newline_token: bool = True,
        nl_space: str = 'plain',
    ):
        self._model, self._pieces = _read_model(Path(model))
        self.extra_ids = extra_ids
        self.newline_token = newline_token
        self.nl_space = nl_space
        sentinels = self._pieces.get_piece_size()
        self._special = {'<pad>': self.pad_id, '</s>': self.eos_id, '<unk>': self.unk_id}
        self._special |= {
            f'<extra_id_{i}>': sentinels + extra_ids - 1 - i for i in range(extra_ids)
        }
        self.newline_id = sentinels + extra_ids if newline_token else None
        self._cuts = dict(self._special)
        if self.newline_id is not None:
            self._cuts |= {NEWLINE: self.newline_id, '\n': self.newline_id}
        self._cut = re.compile('(' + '|'.join(map(re.escape, self._cuts)) + ')')
        self._boundary_id = self._pieces.piece_to_id(_SPACE)

    @classmethod
    def check_ids(cls, config: T5Config) -> None:
        """UserError unless a model pads, ends and starts with the ids that its rows are made with."""
        wanted = {
            'pad_token_id': cls.pad_id,
            'eos_token_id': cls.eos_id,
            'decoder_start_token_id': cls.pad_id,
        }
        for knob, expected in wanted.items():
            found = getattr(config, knob)
            if found != expected:
                raise UserError(f'T5Config.{knob} must be {expected}, as in T5; got {found}')

    @classmethod
    def from_config(cls, config: VocabularyConfig) -> 'Vocabulary':
        """The vocabulary that the knobs describe; UserError where there is no model."""
        if not config.path:
            raise UserError('VocabularyConfig.path is empty; expected spiece.model or its folder')
        return cls(
            Path(config.path),
            extra_ids=config.extra_ids,
            newline_token=config.newline_token,
            nl_space=config.nl_space,
        )

    def as_config(self, path: Path | str) -> VocabularyConfig:
        """The inverse of `from_config`, of a vocabulary whose spiece.model is at `path`."""
        return VocabularyConfig(
            path=str(path),
            extra_ids=self.extra_ids,
            newline_token=self.newline_token,
            nl_space=self.nl_space,  # type: ignore[arg-type]
        )

    @classmethod
    def load(cls, folder: Path | str) -> 'Vocabulary':
        """The inverse of `save`."""
        path = Path(folder) / SETTINGS_FILE
        try:
            return cls(Path(folder), **json.loads(path.read_text()))
        except FileNotFoundError:
            raise UserError(f'{folder} holds no vocabulary: {path} does not exist') from None
        except (ValueError, TypeError) as error:
            raise UserError(f'{path} is not the settings of a vocabulary: {error}') from None

    def save(self, folder: Path | str) -> None:
        """Writes spiece.model and vocabulary.json; the same bytes on every machine."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        manifest.write_atomic(folder / MODEL_FILE, self._model)
        manifest.write_atomic(folder / SETTINGS_FILE, self._settings)

    @property
    def _settings(self) -> str:
        settings = {
            'extra_ids': self.extra_ids,
            'newline_token': self.newline_token,
            'nl_space': self.nl_space,
        }
        return json.dumps(settings, indent=1) + '\n'

    @functools.cached_property
    def sha256(self) -> str:
        """Hex hash of the model and the settings: two vocabularies with one hash encode alike."""
        return hashlib.sha256(self._model + self._settings.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Embedding rows that the ids need: 32101 for T5 with `[NL]`."""
        return self._pieces.get_piece_size() + self.extra_ids + self.newline_token

    @property
    def piece_size(self) -> int:
        """SentencePiece's own pieces, without sentinels and `[NL]`: 32000 for T5."""
        return self._pieces.get_piece_size()

    @property
    def model(self) -> bytes:
        """The content of spiece.model."""
        return self._model

    @property
    def pieces(self) -> list[tuple[str, float]]:
        """SentencePiece's own pieces in the order of their ids, each with its log-probability."""
        return [
            (self._pieces.id_to_piece(i), self._pieces.get_score(i)) for i in range(self.piece_size)
        ]

    @property
    def special_ids(self) -> dict[str, int]:
        """The ids that decoding skips, by name: `<pad>`, `</s>`, `<unk>` and the sentinels."""
        return dict(self._special)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without `</s>`."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of every text, without `</s>`: one call into SentencePiece, on one core."""
        tokens, row_splits = self.encode_ragged(texts, add_eos=False)
        return [tokens[start:end].tolist() for start, end in pairwise(row_splits.tolist())]

    def encode_ragged(
        self, texts: Sequence[str], *, add_eos: bool
    ) -> tuple[Int32[np.ndarray, 'ids'], Int64[np.ndarray, 'n_plus_1']]:
        """The ids of all n texts, one after another, and their row splits; each with `</s>` if asked."""
        parts: list[str] = []
        after: list[int] = []  # the id after each part: what the text was cut at, at its end </s>
        counts: list[int] = []
        for text in texts:
            cut, between = self._split(text)
            parts += cut
            after += [*between, self.eos_id]
            counts.append(len(cut))
        encoded = self._encode_parts(parts)
        last = np.cumsum(counts, dtype=np.int64) - 1  # part of each text
        followed = np.ones(len(parts), bool)
        followed[last] = add_eos
        ends = np.cumsum(followed + np.fromiter(map(len, encoded), np.int64, len(parts)))
        row_splits = np.append(0, ends[last])
        of_parts = np.ones(row_splits[-1], bool)
        of_parts[ends[followed] - 1] = False
        tokens = np.empty(len(of_parts), np.int32)
        tokens[of_parts] = np.fromiter(chain.from_iterable(encoded), np.int32)
        tokens[~of_parts] = np.array(after, np.int32)[followed]
        return tokens, row_splits

    def _split(self, text: str) -> tuple[list[str], list[int]]:
        """What SentencePiece encodes of `text`, and the special ids between those parts."""
        if '<' in text or '[' in text or self.newline_id is None:
            pieces = self._cut.split(text)
            return pieces[::2], [self._cuts[name] for name in pieces[1::2]]
        parts = text.split('\n')  # no name of a special id: several times as fast
        return parts, [self.newline_id] * (len(parts) - 1)

    def _encode_parts(self, parts: list[str]) -> list[list[int]]:
        try:
            encoded = self._pieces.encode(parts, num_threads=1)
        except TypeError:
            parts = [*map(without_halves, parts)]
            encoded = self._pieces.encode(parts, num_threads=1)
        if self.nl_space == 'plain':
            return encoded
        return [
            [*ids, self._boundary_id] if self._ends_in_space(part) else ids
            for part, ids in zip(parts, encoded)
        ]

    def _ends_in_space(self, part: str) -> bool:
        # Normalised, because a tab, U+00A0 and others become spaces; letters shield it from stripping.
        return self._pieces.normalize(f'a{part}a').endswith(f'{_SPACE}a')

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids` as transformers' `decode(ids, skip_special_tokens=True)` has it.

        Special ids and ids beyond the vocabulary are skipped; `[NL]` is written out, and a word after
        it keeps its space ('a[NL] b').
        """
        return ''.join(self.decode_pieces(ids))

    def decode_pieces(self, ids: Iterable[int]) -> list[str]:
        """What each id adds to `decode(ids)`: '' where it is skipped."""
        pieces, space = [], ''
        for i in ids:
            piece = self._strings.get(i)
            pieces.append('' if piece is None else piece.replace(_SPACE, space))
            space = space if piece is None else ' '  # the first piece loses its word boundary
        return pieces

    @functools.cached_property
    def _strings(self) -> dict[int, str]:
        strings = {i: self._pieces.id_to_piece(i) for i in range(3, self.piece_size)}
        if self.newline_id is not None:
            strings[self.newline_id] = NEWLINE
        return strings


@functools.lru_cache(maxsize=4)
def _processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    """The processor of a model; it is never changed, so that all who want it share one."""
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def _read_model(path: Path) -> tuple[bytes, sentencepiece.SentencePieceProcessor]:
    path = path / MODEL_FILE if path.is_dir() else path
    if not path.is_file():
        raise UserError(f'{path} does not exist; expected a SentencePiece model (spiece.model)')
    model = path.read_bytes()
    try:
        pieces = _processor(model)
    except RuntimeError:
        raise UserError(f'{path} is not a SentencePiece model, or it is damaged') from None
    special = (pieces.pad_id(), pieces.eos_id(), pieces.unk_id())
    if special != (Vocabulary.pad_id, Vocabulary.eos_id, Vocabulary.unk_id):
        raise UserError(f'{path}: <pad>, </s>, <unk> must be ids 0, 1, 2 as in T5; got {special}')
    return model, pieces


def train_vocabulary(
    texts: Iterable[str], size: int, folder: Path | str, *, extra_ids: int = 100
) -> Vocabulary:
    """Trains `size` pieces (fewer where the texts hold fewer) on `texts` into `folder`.

    T5's special ids and normalisation, every character of the texts covered, no byte fallback
    (transformers cannot load it for T5). One thread: the same texts give the same bytes.
    """
    lines = (line for text in texts for line in text.replace(NEWLINE, '\n').split('\n') if line)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            max_sentence_length=1 << 16,
            pad_id=Vocabulary.pad_id,
            eos_id=Vocabulary.eos_id,
            unk_id=Vocabulary.unk_id,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(f'no vocabulary of {size} pieces from these texts: {error}') from None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write_atomic(folder / MODEL_FILE, model.getvalue())
    vocabulary = Vocabulary(folder, extra_ids=extra_ids)
    vocabulary.save(folder)
    return vocabulary

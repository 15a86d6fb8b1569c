"""Our vocabulary, with `[NL]`, as SeqIO sees it."""

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import seqio
import tensorflow as tf

from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError


class SeqioVocabulary(seqio.Vocabulary):
    """A SeqIO vocabulary over fsa_jax's: the same ids in Python and in TensorFlow.

    `source` is a Vocabulary or the path of a model, which is read when first needed; None:
    FSA_VOCABULARY, else `t5/` under FSA_DATA_DIR. Equal to another one that encodes alike.
    """

    def __init__(self, source: Vocabulary | str | Path | None = None):
        super().__init__()
        self._source = source

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary behind it."""
        if isinstance(self._source, Vocabulary):
            return self._source
        path = self._source or os.environ.get('FSA_VOCABULARY')
        if not path and os.environ.get('FSA_DATA_DIR'):
            path = Path(os.environ['FSA_DATA_DIR'], 't5')
        if not path:
            raise UserError(
                'no vocabulary: set VocabularyConfig.path, FSA_VOCABULARY or FSA_DATA_DIR '
                '(its t5/spiece.model)'
            )
        return Vocabulary(path)

    @property
    def eos_id(self) -> int:
        return self.vocabulary.eos_id

    @property
    def unk_id(self) -> int:
        return self.vocabulary.unk_id

    @property
    def extra_ids(self) -> int:
        return self.vocabulary.extra_ids

    @property
    def vocab_size(self) -> int:
        return self._base_vocab_size

    @property
    def _base_vocab_size(self) -> int:
        return self.vocabulary.size  # sentinels and [NL] too, else SeqIO decodes them as <unk>

    def _encode(self, s: str) -> Sequence[int]:
        return self.vocabulary.encode(s)

    def _decode(self, ids: Iterable[int]) -> str:
        return self.vocabulary.decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
        """int32 ids: [T] for a scalar, ragged [B, (T)] for a vector of strings."""
        s = tf.convert_to_tensor(s)
        values, lengths = tf.numpy_function(
            self._encode_bytes, [tf.reshape(s, [-1])], [tf.int32, tf.int64], stateful=False
        )
        values.set_shape([None])
        lengths.set_shape([None])
        return values if s.shape.rank == 0 else tf.RaggedTensor.from_row_lengths(values, lengths)

    def _encode_bytes(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        decoded = [text.decode('utf-8', 'replace') for text in texts]
        ids, row_splits = self.vocabulary.encode_ragged(decoded, add_eos=False)
        return ids, np.diff(row_splits)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        """Strings, one for each row of the last axis."""
        text = tf.numpy_function(self._decode_rows, [ids], tf.string, stateful=False)
        text.set_shape(ids.shape[:-1])
        return text

    def _decode_rows(self, ids: np.ndarray) -> np.ndarray:
        rows = ids.reshape(-1, ids.shape[-1])
        texts = [self.vocabulary.decode(row.tolist()).encode() for row in rows]
        return np.array(texts, object).reshape(ids.shape[:-1])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SeqioVocabulary) and self.vocabulary.sha256 == other.vocabulary.sha256
        )

    def __hash__(self) -> int:
        return hash(SeqioVocabulary)

    def __getstate__(self) -> dict:
        return {'_source': self._source, '_extra_ids': 0}

    def __str__(self) -> str:
        return f'SeqioVocabulary({self.vocabulary.sha256[:12]}, size={self.vocab_size})'


def features(vocabulary: Vocabulary | str | Path | None) -> dict[str, seqio.Feature]:
    """The output features of every task here: inputs and targets, `</s>` appended."""
    ours = SeqioVocabulary(vocabulary)
    return {name: seqio.Feature(ours, add_eos=True) for name in ('inputs', 'targets')}

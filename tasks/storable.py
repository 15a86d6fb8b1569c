"""What a token store can hold: plain encoder-decoder text tasks. Others are refused by name."""

import functools
import inspect
from collections.abc import Callable, Mapping

import sentencepiece
import seqio
import tensorflow as tf

from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from tasks.vocabulary import SeqioVocabulary

FEATURES = ('inputs', 'targets')
APPEND_EOS = (seqio.preprocessors.append_eos, seqio.preprocessors.append_eos_after_trim)
Step = Callable[..., tf.data.Dataset]


def check_task(task: seqio.Task, vocabulary: Vocabulary, lengths: Mapping[str, int]) -> None:
    """UserError, with the task's name, for what is not a plain encoder-decoder text task."""
    if set(task.output_features) != set(FEATURES):
        kind = ' (a decoder-only task)' if 'inputs' not in task.output_features else ''
        raise UserError(
            f'task {task.name!r} has output features {", ".join(task.output_features)}{kind}; '
            'expected inputs and targets'
        )
    for name, feature in task.output_features.items():
        if type(feature) is not seqio.Feature or feature.rank != 1 or feature.dtype != tf.int32:
            raise UserError(
                f'task {task.name!r}: output feature {name!r} is a {type(feature).__name__} of rank '
                f'{feature.rank}, {feature.dtype.name}; expected a seqio.Feature of int32 ids, rank 1'
            )
        _check_vocabulary(task, name, feature.vocabulary, vocabulary)
    if task.requires_caching:
        raise UserError(f'task {task.name!r} requires an offline cache; pack reads sources only')
    for step in task.preprocessors:
        _check_step(task, step, lengths)


def _check_step(task: seqio.Task, step: Step, lengths: Mapping[str, int]) -> None:
    inner = step.func if isinstance(step, functools.partial) else step
    if inner is seqio.preprocessors.apply_feature_converter:
        converter = getattr(step, 'keywords', {}).get('feature_converter')
        raise UserError(
            f'task {task.name!r} applies the feature converter {type(converter).__name__}; pack '
            'stores inputs and targets and has its own packing (RowsConfig.layout)'
        )
    takes_length = 'sequence_length' in inspect.signature(step).parameters
    if takes_length and inner not in APPEND_EOS and not all(lengths.values()):
        raise UserError(
            f'task {task.name!r}: its preprocessor {seqio.utils.function_name(step)} needs a length; '
            'set PackConfig.input_length and PackConfig.target_length'
        )


def _check_vocabulary(task: seqio.Task, name: str, theirs: seqio.Vocabulary, ours: Vocabulary):
    """Ids must mean the same to the task and to the store, whose vocabulary decodes them."""
    if isinstance(theirs, SeqioVocabulary):
        same = theirs.vocabulary.sha256 == ours.sha256
    elif isinstance(theirs, seqio.SentencePieceVocabulary):
        same = _same_pieces(theirs, ours)
    else:
        same = isinstance(theirs, seqio.PassThroughVocabulary) and theirs.size <= ours.size
    if not same:
        raise UserError(
            f'task {task.name!r}: {name!r} has the vocabulary {str(theirs)!r:.120}, which is not that '
            'of VocabularyConfig; set VocabularyConfig.path (and extra_ids) to its model'
        )


def _same_pieces(theirs: seqio.SentencePieceVocabulary, ours: Vocabulary) -> bool:
    pieces = sentencepiece.SentencePieceProcessor(model_proto=ours.model)
    if theirs.extra_ids > ours.extra_ids or theirs.vocab_size - theirs.extra_ids != ours.piece_size:
        return False
    same = all(
        theirs.tokenizer.id_to_piece(i) == pieces.id_to_piece(i) for i in range(ours.piece_size)
    )
    sentinels = (f'<extra_id_{i}>' for i in range(theirs.extra_ids))
    return same and all(
        theirs.tokenizer.piece_to_id('▁' + piece) == ours.special_ids[piece] for piece in sentinels
    )

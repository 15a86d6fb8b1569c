"""TFDS builders over local files: fsa_benchmark and sentiment_understanding_corpus.

    import tasks, tensorflow_datasets as tfds
    tasks.register_all(data_dir='data', corpus='data/corpus')
    tfds.load('fsa_benchmark/rest16', split='test', data_dir='prepared')

Nothing is downloaded. Examples keep the order of the files. TFDS prepares a version once in each of
its data_dir: take another data_dir for another source.
"""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from fsa_jax.data import benchmark_files, corpus_files
from fsa_jax.records import Aspect, Sentence
from tasks.benchmark import target_of

# TFDS looks for a builder's file with importlib_resources, which it does not require.
_CODE_PATH = epath.Path(__file__)
Keyed = Iterator[tuple[int, dict[str, Any]]]
_TEXT = tfds.features.Text


class FsaBenchmark(tfds.core.GeneratorBasedBuilder):
    """The four FSA datasets, one config each; 'test' is test followed by hard_test.

    `targets` is the target string as published. In `aspects`, null becomes an empty string (in
    `opinion_words`: an empty list), and `from` and `to` are text as stored.
    """

    code_path = _CODE_PATH
    VERSION = tfds.core.Version('1.0.0')
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=f'{task.upper()} on {name}')
        for name, task in benchmark_files.DATASETS.items()
    ]
    source = ''  # root of the benchmark data; empty: FSA_DATA_DIR

    def _info(self) -> tfds.core.DatasetInfo:
        aspect = {
            'target': _TEXT(),
            'category': _TEXT(),
            'polarity': _TEXT(),
            'from': _TEXT(),
            'to': _TEXT(),
            'opinion_words': tfds.features.Sequence(_TEXT()),
        }
        return _dataset_info(
            self,
            description='Fine-grained sentiment: sentences with their (category or term, polarity) pairs.',
            features={
                'id': _TEXT(),
                'sentence': _TEXT(),
                'targets': _TEXT(),
                'aspects': tfds.features.Sequence(aspect),
                'subsets': tfds.features.Sequence(_TEXT()),
            },
            keys=('sentence', 'targets'),
        )

    def _split_generators(self, dl_manager) -> dict[str, Keyed]:
        return {split: self._generate_examples(split) for split in benchmark_files.SPLIT_FILES}

    def _generate_examples(self, split: str) -> Keyed:
        dataset = self.builder_config.name
        task = benchmark_files.DATASETS[dataset]
        for i, sentence in enumerate(benchmark_files.read_split(dataset, split, self.source)):
            yield i, _example(sentence, task)


class SentimentUnderstandingCorpus(tfds.core.GeneratorBasedBuilder):
    """Teacher answers: a corpus folder, the published 100-file layout, or files of answers.

    A review without a rating has `rating` 0.
    """

    code_path = _CODE_PATH
    VERSION = tfds.core.Version('1.0.0')
    source = ''  # file or folder of answers; empty: corpus/ under FSA_DATA_DIR
    validation_fraction = 0.01

    def _info(self) -> tfds.core.DatasetInfo:
        return _dataset_info(
            self,
            description="A large language model's analyses and rewritings of reviews.",
            features={
                'id': _TEXT(),
                'kind': tfds.features.ClassLabel(names=corpus_files.KINDS),
                'inputs': _TEXT(),
                'targets': _TEXT(),
                'domain': _TEXT(),
                'teacher': _TEXT(),
                'rating': tfds.features.Scalar(np.float32),
            },
            keys=('inputs', 'targets'),
        )

    def _split_generators(self, dl_manager) -> dict[str, Keyed]:
        root = corpus_files.corpus_root(self.source)
        splits = corpus_files.split_names(root, self.validation_fraction)
        return {split: self._generate_examples(root, split) for split in splits}

    def _generate_examples(self, root, split: str) -> Keyed:
        answers = corpus_files.read_generations(
            root, split, validation_fraction=self.validation_fraction
        )
        for i, answer in zip(itertools.count(), answers):
            yield (
                i,
                {
                    'id': answer.id,
                    'kind': answer.kind,
                    'inputs': answer.input,
                    'targets': answer.output,
                    'domain': answer.domain,
                    'teacher': answer.teacher,
                    'rating': answer.rating or 0.0,
                },
            )


def _dataset_info(builder, description: str, features: dict[str, Any], keys: tuple[str, str]):
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        features=tfds.features.FeaturesDict(features),
        supervised_keys=keys,
        homepage='https://arxiv.org/abs/2412.18552',
        disable_shuffling=True,
    )


def _example(sentence: Sentence, task: str) -> dict[str, Any]:
    return {
        'id': sentence.id,
        'sentence': sentence.sentence,
        'targets': target_of(task, sentence.aspects),
        'aspects': [_aspect(aspect) for aspect in sentence.aspects],
        'subsets': list(benchmark_files.subsets(sentence)),
    }


def _aspect(aspect: Aspect) -> dict[str, Any]:
    words = aspect.opinion_words or []
    words = [words] if isinstance(words, str) else words
    return {
        'target': aspect.target or '',
        'category': aspect.category or '',
        'polarity': aspect.polarity,
        'from': '' if aspect.start is None else str(aspect.start),
        'to': '' if aspect.end is None else str(aspect.end),
        'opinion_words': [w if isinstance(w, str) else json.dumps(w) for w in words],
    }

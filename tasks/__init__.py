"""SeqIO tasks and mixtures, and TFDS builders. Importing this package does nothing.

    import seqio, tasks
    tasks.register_all(data_dir='data', corpus='data/corpus', vocabulary='data/t5')
    seqio.get_mixture_or_task('fsa_acsa_rest16').get_dataset(None, 'test')

Tasks: fsa_acsa_rest16, fsa_acsa_laptop16, fsa_atsa_rest14, fsa_atsa_laptop14 (splits train,
validation, test, test_implicit, test_multiple, test_explicit), sentiment_analysis_corpus and
sentiment_rewriting_corpus; mixture: sentiment_understanding. TFDS builders: fsa_benchmark and
sentiment_understanding_corpus (`register_all` makes `tfds.builder` know both).
"""

import inspect


def register_all(
    vocabulary=None,
    *,
    data_dir: str = '',
    corpus: str = '',
    target_order: str = 'released',
    rates: dict[str, float] | None = None,
    validation_fraction: float = 0.01,
) -> None:
    """Registers all tasks, mixtures and builders with SeqIO and TFDS; again replaces them.

    A call without arguments leaves an earlier registration as it is, so a module of yours may call
    it before it builds on these tasks. Data is looked up when it is read.

    Args:
      vocabulary: fsa_jax Vocabulary, or a path of spiece.model; None: FSA_VOCABULARY, else `t5/`
        under the data root.
      data_dir: root of the benchmark data; empty: FSA_DATA_DIR.
      corpus: file or folder of teacher answers; empty: `corpus/` under the data root.
      target_order: order of the pairs of an ATSA target, 'released' or 'numeric'.
      rates: rates of sentiment_understanding by task; 1 for a task that is not named.
      validation_fraction: share of a corpus without validation files that becomes 'validation'.
    """
    from tasks import registry

    parameters = inspect.signature(register_all).parameters.values()
    given = (vocabulary, data_dir, corpus, target_order, rates, validation_fraction)
    if registry.registered() and given == tuple(p.default for p in parameters):
        return
    registry.register(vocabulary, data_dir, corpus, target_order, rates or {}, validation_fraction)


def register_labels(labels, vocabulary=None, target_order: str = 'released') -> str:
    """Registers a user's own labels (fsa_jax.data.labels.Labels) as a task; returns its name."""
    from tasks import user_labels

    return user_labels.register(labels, vocabulary, target_order)

"""Constrained decoding: whatever the weights, every text is one the scorer keeps whole."""

import random

import jax
import numpy as np
import pytest

from fsa_jax import text_format
from fsa_jax.configs import DecodeConfig, T5Config
from fsa_jax.data import benchmark_files
from fsa_jax.data.vocabulary import Vocabulary, train_vocabulary
from fsa_jax.decode import Generator, automaton
from fsa_jax.decode.grammar import MAX_TERM_WORDS, WORD, Grammar
from fsa_jax.errors import UserError
from fsa_jax.model.t5 import init_params
from fsa_jax.records import POLARITIES
from tests import training

CATEGORIES = ('food quality', 'service general', 'food prices', 'food')
PLAIN = ('the', 'food', 'was', 'great', 'but', 'service', 'slow', 'screen', 'battery', 'very')
ODD = (
    *(
        'wine-list',
        'pasta,',
        '(really)',
        '"the best"',
        'caf\u00e9',
        '\u00bd',
        'food;',
        'a|b',
        '$20',
    ),
    *(
        '\u00a0',
        '  ',
        '\t',
        '\n',
        '[NL]',
        '</s>',
        'e\u0301',
        '\u65e5\u672c',
        "don't",
        'x' * 30,
        '...',
    ),
)
WORDS = PLAIN + ODD


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
    rng = random.Random(0)
    lines = [' '.join(rng.choices(WORDS[:18], k=8)) + ' | positive ; negative' for _ in range(200)]
    lines += ['the quick brown fox jumps over a lazy dog and neutral conflict prices'] * 3
    return train_vocabulary(lines, 150, tmp_path_factory.mktemp('vocabulary'))


@pytest.fixture(scope='module')
def random_student(vocabulary):
    """(generate, config): texts of a model with random weights, that seldom ends by itself."""
    config = T5Config(vocab_size=vocabulary.size, **training.SMALLEST)
    generators = {
        method: Generator(config, DecodeConfig(method=method, batch_size=64, temperature=2.0))
        for method in ('greedy', 'sample')
    }

    def generate(method, seed, inputs, length, automata):
        params = jax.tree.map(lambda x: 3 * x, init_params(config, jax.random.key(seed)))
        ids = [[*vocabulary.encode(text), 1] for text in inputs]
        return generators[method].generate_scored(params, ids, length, automata=automata)

    return generate


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    made = [' '.join(rng.choices(WORDS, k=rng.randrange(1, 14))) for _ in range(count - 3)]
    return [*made, '', ';', ' '.join(['food'] * 40)]


@pytest.mark.parametrize('method', ['greedy', 'sample'])
@pytest.mark.parametrize('seed', range(3))
def test_no_pair_of_a_random_student_is_dropped(vocabulary, random_student, method, seed):
    texts = sentences(64, seed)
    grammar = Grammar(vocabulary)
    automata, lost = grammar.of_sentences(texts)
    found = random_student(method, seed, texts, 40, automata)
    pairs = 0
    for text, generated in zip(texts, found):
        written = vocabulary.decode(generated.ids)
        parsed = text_format.parse('atsa', written, text)
        assert generated.ended, 'a text is whole at any length'
        assert not parsed.dropped
        assert written == text_format.join(parsed.pairs)
        for term, _ in parsed.pairs:
            assert aligned(term, text)
        pairs += len(parsed.pairs)
    assert pairs > 20
    assert sum(lost) > 0


def aligned(term: str, text: str) -> bool:
    starts = {m.start() for m in WORD.finditer(text)}
    ends = {m.end() for m in WORD.finditer(text)}
    places = [i for i in range(len(text)) if text.startswith(term, i)]
    return any(i in starts and i + len(term) in ends for i in places)


def test_without_it_the_scorer_drops_most_of_the_same_texts(vocabulary, random_student):
    texts = sentences(64, 0)
    found = random_student('greedy', 0, texts, 40, None)
    written = [vocabulary.decode(generated.ids) for generated in found]
    assert any(text_format.parse('atsa', w, t).dropped for w, t in zip(written, texts))


@pytest.mark.parametrize('length', [1, 9])
def test_a_text_is_whole_within_any_limit(vocabulary, random_student, length):
    texts = sentences(16, 5)
    automata, _ = Grammar(vocabulary).of_sentences(texts)
    for text, generated in zip(texts, random_student('greedy', 1, texts, length, automata)):
        assert generated.ended
        assert not text_format.parse('atsa', vocabulary.decode(generated.ids), text).dropped


def test_categories_come_from_the_inventory(vocabulary, random_student):
    texts = sentences(32, 2)
    polarities = ('good', 'very bad')
    rules = Grammar(vocabulary, polarities).of_categories(CATEGORIES)
    seen = set()
    for generated in random_student('sample', 4, texts, 40, [rules] * len(texts)):
        parsed = text_format.parse('acsa', vocabulary.decode(generated.ids), '', polarities)
        assert not parsed.dropped
        seen |= set(parsed.pairs)
    assert {category for category, _ in seen} <= set(CATEGORIES)
    assert len(seen) > 4
    assert {polarity for _, polarity in seen} == set(polarities)


def test_every_span_of_words_can_be_written_and_nothing_else(vocabulary):
    text = 'the wine-list, food'
    (one,), lost = Grammar(vocabulary).of_sentences([text])
    words = [m.span() for m in WORD.finditer(text)]
    spans = {text[s:e] for i, (s, _) in enumerate(words) for _, e in words[i:]}
    assert accepted(vocabulary, one, max_pairs=1) == {''} | {
        f'{span} | {polarity}' for span in spans for polarity in POLARITIES
    }
    assert lost == [0]


def test_a_word_does_not_end_before_its_accent(vocabulary):
    (one,), lost = Grammar(vocabulary).of_sentences(['food\u0301'])
    assert accepted(vocabulary, one, max_pairs=1) == {''}
    assert lost == [1]


def accepted(vocabulary, one: automaton.Automaton, max_pairs: int) -> set[str]:
    """The texts of all paths to the end that go through no more than `max_pairs` pairs."""
    edges: dict[int, list] = {}
    for source, token, target, _ in zip(*map(np.ndarray.tolist, one)):
        edges.setdefault(source, []).append((token, target))
    found, begun = set(), [(automaton.START, ())]
    while begun:
        state, ids = begun.pop()
        for token, target in edges.get(state, []):
            if token == vocabulary.eos_id:
                found.add(vocabulary.decode(ids))
            elif vocabulary.decode([*ids, token]).count(';') < max_pairs:
                begun.append((target, (*ids, token)))
    return found


def test_the_ids_of_a_target_string_are_those_of_encode(vocabulary):
    text = 'the (really) great food was bad'
    (one,), _ = Grammar(vocabulary).of_sentences([text])
    steps = {(s, t): n for s, t, n, _ in zip(*map(np.ndarray.tolist, one))}
    target = '(really) great | positive ; food | conflict ; food was bad | neutral'
    state = automaton.START
    for token in [*vocabulary.encode(target), vocabulary.eos_id]:
        state = steps[state, token]


def test_spans_that_cannot_be_written_are_counted(vocabulary):
    def count(text):
        return Grammar(vocabulary).of_sentences([text])[1][0]

    assert count('great food') == 0
    assert count('great  food') == 1  # two spaces: the span over both words
    assert count('great\u00a0food') == 1
    assert count('great \u00bd') == 2  # normalised to 1/2: alone, and behind great
    assert count('a;b') == 4  # of 6 spans: all with the separator
    assert count(' '.join(['food'] * (MAX_TERM_WORDS + 9))) == 0


@pytest.mark.parametrize('categories', [('food | price',), ('',), ('caf\u00bd',)])
def test_a_category_that_cannot_be_written_is_named(vocabulary, categories):
    with pytest.raises(UserError, match='cannot write the category'):
        Grammar(vocabulary).of_categories(categories)


def test_pieces_across_spaces_are_refused(vocabulary, monkeypatch):
    pieces = [*vocabulary.pieces, ('\u2581of\u2581the', -1.0)]
    monkeypatch.setattr(Vocabulary, 'pieces', property(lambda self: pieces))
    with pytest.raises(UserError, match='do not cross spaces'):
        Grammar(vocabulary)


def test_beams_follow_no_grammar(vocabulary):
    config = T5Config(vocab_size=vocabulary.size)
    rules = Grammar(vocabulary).of_categories(CATEGORIES)
    with pytest.raises(UserError, match='beam'):
        Generator(config, DecodeConfig(method='beam')).generate({}, [[1]], automata=[rules])


@pytest.mark.data
def test_the_targets_of_a_real_benchmark_can_be_written(shared):
    """All but those whose terms begin or end inside a word."""
    vocabulary = Vocabulary(shared / 'data' / 't5')
    sentences = benchmark_files.read_split('rest14', 'test', shared / 'data')
    automata, _ = Grammar(vocabulary).of_sentences([s.sentence for s in sentences])
    written = 0
    for sentence, one in zip(sentences, automata):
        steps = {(s, t): n for s, t, n, _ in zip(*map(np.ndarray.tolist, one))}
        state: int | None = automaton.START
        target = text_format.atsa_target(sentence.aspects)
        for token in [*vocabulary.encode(target), vocabulary.eos_id]:
            state = steps.get((state, token)) if state is not None else None
        whole = all(aligned(a.target, sentence.sentence) for a in sentence.aspects if a.target)
        assert (state is not None) == whole, target
        written += state is not None
    assert written > 0.99 * len(sentences)

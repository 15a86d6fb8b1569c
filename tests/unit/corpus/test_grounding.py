"""Targets and quotations against the review."""

import pytest

from fsa_jax.corpus.grounding import Source, quotations

REVIEW = (
    "Sturdy little tripod. The legs lock firmly and the ball head doesn't creep, but carrying bags "
    'cost extra. Six of us used it on a beach; sand got into everything…'
)


@pytest.mark.parametrize(
    ('target', 'support'),
    [
        ('tripod', 'verbatim'),
        ('The Legs', 'verbatim'),
        ('ball head', 'verbatim'),
        ('carrying bag', 'normalised'),
        ('the leg', 'normalised'),
        ('head of the ball', 'normalised'),
        ('ball-head', 'normalised'),
        ('ballhead', 'normalised'),
        ('ball head stability', 'implicit'),
        ('it', 'verbatim'),
        ('they', 'implicit'),
        ('price', 'implicit'),
        ('shutter', 'unsupported'),
        ('ripod', 'unsupported'),
    ],
)
def test_support_of_a_target(target, support):
    assert Source(REVIEW).support(target) == support


def test_an_unnamed_target_is_implicit_where_the_reasoning_cites_the_review():
    source = Source(REVIEW)
    assert source.support('workmanship', '"the legs lock firmly" is praise.') == 'implicit'
    assert source.support('workmanship', 'Six used it on the beach, despite sand.') == 'implicit'
    assert source.support('workmanship', '"never broke once" is praise.') == 'unsupported'
    assert source.support('workmanship', 'this is praise.') == 'unsupported'
    assert source.support('workmanship', 'this is praise.', implied=True) == 'implicit'


def test_two_words_in_common_are_chance_not_evidence():
    review = 'the tip left scratches on my ipad screen protector. it is such a shame.'
    reasoning = 'The warranty does not cover the screen protector, which is negative.'
    assert Source(review).support('warranty', reasoning) == 'unsupported'


@pytest.mark.parametrize(
    'said', ["doesn't explicitly address", 'does not mention', 'makes no mention of']
)
def test_what_the_teacher_says_the_review_is_silent_about_is_unsupported(said):
    source = Source(REVIEW)
    assert source.support('customer service', f'The review {said} it.') == 'unsupported'
    cited = f'The review {said} it, but "the legs lock firmly" tells.'
    assert source.support('customer service', cited) == 'implicit'


def test_quotations_are_found_whatever_marks_them():
    text = "It says \"a b\", “c d”, 'it's e f' and ‘g h’; the owner's cat and 5\" are none."
    assert list(quotations(text)) == ['a b', 'c d', "it's e f", 'g h']


@pytest.mark.parametrize(
    ('quotation', 'there'),
    [
        ('the legs lock firmly', True),
        ('The legs lock firmly,', True),
        ('legs … ball head doesn’t creep', True),
        ('[it] got into everything', True),
        ('legs lock gently', False),
        ('lock firm', False),
    ],
)
def test_a_quotation_is_the_reviews_or_not(quotation, there):
    assert Source(REVIEW).quotes(quotation) is there

"""A teacher's words for a sentiment, and the levels they become."""

import pytest

from fsa_jax.corpus.sentiment import normalise_sentiment, polarity
from fsa_jax.records import SENTIMENT_LEVELS


@pytest.mark.parametrize('level', SENTIMENT_LEVELS)
def test_a_level_is_itself(level):
    for written in (level, level.lower(), f'"{level}"', f'**{level}**', f' {level}. '):
        assert normalise_sentiment(written) == level


@pytest.mark.parametrize(
    ('raw', 'level'),
    [
        ('Extremely Positive', 'Very Positive'),
        ('strongly negative', 'Very Negative'),
        ('Slightly Negative', 'Negative'),
        ('Mild Negative', 'Negative'),
        ('Mildly Positive', 'Positive'),
        ('Positive (Mild)', 'Positive'),
        ('Somewhat Positive', 'Positive'),
        ('Implicitly Negative', 'Negative'),
        ('Negative, because the fan is loud', 'Negative'),
        ('Negative – very', 'Negative'),
        ('Neutral', 'Mild Sentiment'),
        ('Neutral to Positive', 'Mild Sentiment'),
        ('Mixed (positive and negative)', 'Mild Sentiment'),
        ('Positive/Negative', 'Mild Sentiment'),
        ('Mild', 'Mild Sentiment'),
        ('Very Mild', 'Mild Sentiment'),
        ('Unspecified/Neutral', 'Mild Sentiment'),
        ('Unfavorable', 'Negative'),
        ('Not specified', None),
        ('Undetermined', None),
        ('None (given the context)', None),
        ('N/A', None),
        ('Not Applicable', None),
        ('', None),
        ('The writer says at length what was positive', None),
        ('hungry', None),
    ],
)
def test_the_prefix_decides(raw, level):
    assert normalise_sentiment(raw) == level


def test_polarities_of_the_levels():
    assert [polarity(level) for level in SENTIMENT_LEVELS] == [
        'negative', 'negative', 'neutral', 'positive', 'positive',
    ]  # fmt: skip
    assert polarity(None) is None

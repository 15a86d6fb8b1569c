"""What counts as an implicit review, by cues and by an earlier analysis."""

import pytest

from fsa_jax.corpus import analysis
from fsa_jax.corpus.implicit import by_cues, cue_score, is_implied, lab_quality, read_analyses
from fsa_jax.errors import UserError
from fsa_jax.records import Generation, Opinion, write_jsonl

STATED = Opinion('soup', 'taste', 'Positive', reasoning='"lovely" is praise.')
PRAISED = Opinion('soup', 'smell', 'Positive', reasoning='"lovely" is praise.')
IMPLIED = Opinion('table', 'waiting', 'Negative', reasoning='An hour implies annoyance.')


def test_the_cue_score_is_the_share_of_clauses_with_a_cue():
    assert cue_score('We waited an hour. My plate was still empty, and nobody came.') == 0
    assert cue_score('We waited an hour. The soup was awful, but it came.') == pytest.approx(1 / 3)
    assert cue_score('Great soup! Lovely staff.') == 1
    assert cue_score('…') == 0
    assert by_cues('We waited an hour. My plate was still empty.')
    assert not by_cues('Great soup! We waited an hour.')


def test_an_analysis_tells_by_its_reasoning():
    def told(*opinions):
        return is_implied(analysis.render(opinions), 'The lovely soup came to our table.')

    assert told(IMPLIED) is True
    assert told(IMPLIED, STATED) is True
    assert told(IMPLIED, STATED, PRAISED) is False
    assert told() is None


def test_analyses_are_found_by_the_words_of_the_review(tmp_path):
    answers = [
        Generation('1', 'analysis', 'We waited; an hour!', analysis.render([IMPLIED])),
        Generation('1', 'rewriting', 'We waited; an hour!', 'I hated the wait.'),
        Generation('2', 'analysis', 'Lovely soup', analysis.render([STATED])),
    ]
    write_jsonl(tmp_path / 'part-0.jsonl', answers)
    told = read_analyses(tmp_path)
    assert [told('we waited an hour'), told('Lovely soup.'), told('other')] == [True, False, None]
    write_jsonl(tmp_path / 'part-0.jsonl', answers[1:2])
    with pytest.raises(UserError, match='holds no analysis'):
        read_analyses(tmp_path)


def test_the_labellers_are_better_than_chance_on_the_labs_truth():
    """Chance has the precision of the share of implicit reviews; a teacher's word beats the cues."""
    cues, told = lab_quality(by_analysis=False), lab_quality(by_analysis=True)
    chance = cues.implicit / cues.reviews
    assert cues.precision > chance + 0.1
    assert cues.recall > chance + 0.1
    assert told.precision > cues.precision
    assert told.recall > cues.recall


def test_the_cues_do_as_well_on_a_seed_that_they_were_not_chosen_on():
    held_out, tuned = lab_quality(by_analysis=False), lab_quality(by_analysis=False, seed=0)
    assert held_out != tuned
    assert held_out.precision == pytest.approx(tuned.precision, abs=0.05)
    assert held_out.recall == pytest.approx(tuned.recall, abs=0.05)

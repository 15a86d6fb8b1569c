"""What a kind of review talks about and how: the types, and the wording that all domains share.

Lists are written from common to rare, as comma-separated text; `*` marks a plural term and `~` one
without an article (food). Levels are (Very Negative) to 2 (Very Positive). Templates are those of grammar.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Subject:
    """One category of a domain and its wording.

    `names` are what a teacher calls it, `implied` its name where a review mentions no target.
    `words` are opinion words that fit this subject, by level: some of them mean the opposite
    elsewhere (a cold beer, a cold soup). `implicit` are statements, one a line, that let an
    opinion be felt without a word for it; `{t}` is a term, `<a/b>` a target of their own.
    """

    category: str
    names: str
    implied: str
    weight: float
    terms: str
    words: Mapping[int, str]
    implicit: Mapping[int, str]
    modifiers: str = ''
    senses: str = 'seemed, felt'


@dataclass(frozen=True)
class Domain:
    """A kind of review. `facts` are statements without any opinion; `when` are adjuncts."""

    name: str
    subjects: tuple[Subject, ...]
    facts: str
    when: str
    foreign: str = field(default='')  # terms a teacher may make up: no review ever holds them


ADJECTIVES = {
    -2: 'terrible, awful, horrible, dreadful, atrocious, abysmal, appalling, horrendous, pathetic',
    -1: 'bad, poor, disappointing, lousy, mediocre, lacking, unpleasant, weak, inferior, '
    'unimpressive, underwhelming, questionable, inadequate',
    0: 'okay, average, ordinary, acceptable, standard, passable, typical, unremarkable, adequate',
    1: 'good, nice, decent, pleasant, solid, lovely, enjoyable, satisfying, respectable, '
    'impressive, commendable, pleasing',
    2: 'great, excellent, amazing, fantastic, wonderful, perfect, superb, outstanding, awesome, '
    'incredible, brilliant, fabulous, phenomenal, stellar, magnificent',
}
VERBS = {
    -2: 'hated, despised, loathed, detested',
    -1: 'disliked, regretted, resented',
    1: 'liked, enjoyed, appreciated, admired',
    2: 'loved, adored, treasured',
}
NOUNS = {
    -2: 'disaster, nightmare, disgrace, joke, catastrophe, travesty',
    -1: 'letdown, disappointment, mistake, drawback, weak point, annoyance, shame',
    1: 'pleasure, treat, strong point, bonus, nice surprise, asset',
    2: 'dream, delight, triumph, masterpiece, highlight, joy',
}
PREDICATES = {
    -2: 'ruined everything, drove us crazy, made me furious, disgusted me',
    -1: 'disappointed us, let me down, fell short, annoyed me, missed the mark, bothered me',
    0: 'did the job, left me indifferent, met the minimum',
    1: 'impressed us, pleased everyone, hit the spot, made me happy, worked out well',
    2: 'blew me away, exceeded all expectations, won our hearts, amazed everyone, stole the show',
}

INTENSIFIERS = 'very, really, extremely, incredibly, super, remarkably'
EMPHASIS = 'absolutely, simply, truly, just, downright'
DOWNTONERS = 'a bit, a little, slightly, somewhat, rather, kind of'
# Each turns the sign of the adjective that follows.
NEGATIONS = 'not, not very, not exactly, hardly, far from, anything but, never'

# {t} the term, {a} an adjective phrase, {b} a bare (perhaps intensified) adjective, {one} a or an.
PREDICATIVE = """
the {t} {was} {a}
the {t} {is} {a}
the {t} {sense} {a}
i found the {t} {a}
we thought the {t} {was} {a}
their {t} {was} {a}
the {t} here {is} {a}
in my opinion the {t} {is} {a}
the {t} turned out {a}
i have to say the {t} {was} {a}
as for the {t}, {it} {was} {a}
my [wife/husband/friend/sister] [said/thought] the {t} {was} {a}
the {t} we [got/had] {was} {a}
[everyone/all of us] agreed that the {t} {was} {a}
{a}, that is how the {t} {was}
when it comes to the {t}, {it} {was} {a}
the {t} {has} always been {a}
the {t} could only be described as {a}
i would call the {t} {a}
"""
ATTRIBUTIVE = """
{one} {b} {t}
they have {one} {b} {t}
we had {one} {b} {t}
i got {one} {b} {t}
nothing but {one} {b} {t}
expect {one} {b} {t}
you get {one} {b} {t}
we were surprised by the {b} {t}
the {b} {t} [stood out/must be mentioned]
{one} {b} {t}, i must say
i keep talking about the {b} {t}
such {one} {b} {t}
"""
WITH_VERB = """
i {v} the {t}
we {v} the {t}
i [really/particularly] {v} the {t}
[everybody/my family/my friend] {v} the {t}
what i {v} most {was} the {t}
the {t} {is} what we {v}
"""
WITH_NOUN = """
the {t} {was} {an} {n}
the {t} [turned out to be/proved to be] {an} {n}
what {an} {n} the {t} {was}
their {t} {is} {an} {n}
i consider the {t} {an} {n}
"""
WITH_PREDICATE = """
the {t} {p}
the {t} here {p}
their {t} [really/] {p}
it is the {t} that {p}
"""
# The opinion is the opposite of the word: good words with bad news, and bad words with good news.
TURNED_DOWN = """
i wish the {t} had been {b}
the {t} used to be {b}
i would not call the {t} {b}
we had hoped for {one} {b} {t}
the {t} {was} supposed to be {b}
gone are the days when the {t} {was} {b}
the {t} should have been {b}
i do not know who finds the {t} {b}
"""
TURNED_UP = """
nobody could call the {t} {b}
i would not call the {t} {b}
i do not know who finds the {t} {b}
gone are the days when the {t} {was} {b}
we had feared {one} {b} {t} for nothing
the {t} used to be {b} but no longer {is}
"""
# No term: only the word says what it is about.
UNTARGETED = """
it was {a}
it is all {a}
everything was {a}
all in all, {a}
they are {a}
i would say {a}
"""
# Two terms, one word; the second opinion is that of the first, or its opposite.
SHARED = """
the {t} and the {u} were {a}
the {t} {was} {a}, and so {uwas} the {u}
the {t} {was} {a}, same for the {u}
both the {t} and the {u} were {a}
like the {u}, the {t} {was} {a}
"""
CONTRASTED = """
unlike the {u}, the {t} {was} {a}
the {t}, unlike the {u}, {was} {a}
the {t} {was} {a}, which i cannot say of the {u}
the {t} {was} {a}, quite the opposite of the {u}
"""
CONFLICTING = """
the {t} {was} {a} but also {c}
the {t} {was} both {a} and {c}
the {t} {was} {a} at first and {c} later
"""
# Neutral mentions: a term and no feeling about it.
MENTIONS = """
i asked about the {t}
we [talked/read] about the {t}
someone mentioned the {t}
[my friend/my wife/my brother] asked about the {t}
this is about the {t}
we came because of the {t}
"""

ALIKE = """
{1} and {2}
{1}, and {2}
{1}, plus {2}
{1}. also, {2}
{1}; {2}
{1}, moreover {2}
"""
UNLIKE = """
{1} but {2}
{1}, but {2}
although {1}, {2}
{1}, yet {2}
while {1}, {2}
{1}. however, {2}
{1}; on the other hand, {2}
even though {1}, {2}
"""
OPENERS = """
honestly,
overall,
to be fair,
in the end
i must admit
i think
for me
this time
let me be clear:
"""

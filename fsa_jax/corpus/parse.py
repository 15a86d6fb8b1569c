"""A teacher's analysis, however dirty -> its opinions, and codes of what was cut.

    analysis = parse_analysis(answer, review)
    analysis.opinions[0].target, .aspect, .sentiment, .target_support
    analysis.reasons        # ('continuation', 'cut')

Every valid opinion about the review is kept; a made-up review that follows, notes, code and a block
that the token limit cut are not, and each of these leaves its code. Nothing raises.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fsa_jax.corpus import fields, values
from fsa_jax.corpus.grounding import Source, says_implied
from fsa_jax.corpus.sentiment import normalise_sentiment
from fsa_jax.records import Opinion

REASONS = {
    'preamble': 'text before the first opinion',
    'continuation': 'a made-up review, an example or a second answer follows',
    'meta': 'notes, instructions, summaries: lines of no field',
    'echo': 'JSON, table or code after the opinions',
    'url': 'an address',
    'placeholder': "an opinion of a template's words, or without a target",
    'incomplete': 'an opinion without a sentiment',
    'repeat': 'an opinion that was there already',
    'cut': 'the last opinion, cut in the middle',
}
FORMS = {
    'carried_target': 'Aspect repeated under one target',
    'one_line': 'several fields on a line',
    'numbered': 'Aspect 1:, Sentiment 2:',
    'misspelt': 'a misspelt label',
    'list': 'bullets or list items',
    'markup': 'markdown in labels',
    'json': 'JSON instead of text',
    'none': 'the answer says that there is no opinion',
}
_ENDS = tuple('.!?…"”\'’)]}>*`|%')
_SENTENCE = re.compile(r'[.!?…]["”\'’)\]*]*$')
_NONE = re.compile(r'\W*no opinion targets?\b[^\n]{0,40}$', re.IGNORECASE)
_EMPTY = re.compile(
    r'(?:```\w*\s*)?(?:\{\s*"\w+"\s*:\s*\[\s*\]\s*\}|\[\s*\])\s*(?:```)?'
)  # JSON that says so
_MOST_OBJECTS = 200  # JSON objects looked for in an answer


@dataclass(frozen=True)
class Analysis:
    """The opinions of an answer, the codes of what was cut (REASONS), the oddities of form (FORMS),
    and whether the text stops in the middle."""

    opinions: tuple[Opinion, ...]
    reasons: tuple[str, ...]
    forms: tuple[str, ...]
    truncated: bool


def parse_analysis(text: str, review: str | Source, finish_reason: str = '') -> Analysis:
    """The analysis in `text`, an answer about `review`.

    `finish_reason` ('length' or 'stop'), where the engine told it, decides whether the text is cut;
    else its last characters do.
    """
    source = review if isinstance(review, Source) else Source(review)
    if _NONE.match(text.strip()):
        return Analysis((), (), ('none',), False)
    if _EMPTY.fullmatch(text.strip()):
        return Analysis((), (), ('json', 'none'), False)
    reader = _Reader(source)
    found = _json_blocks(text)
    if found is not None:
        reader.read_blocks(*found)
    else:
        reader.read_lines(text.rstrip().splitlines())
    truncated = finish_reason == 'length' or (finish_reason != 'stop' and reader.stops_midway(text))
    if truncated and found is not None:
        reader.reasons.add('cut')
    whole = (
        _SENTENCE.search(text.rstrip()[-9:]) is not None
    )  # a sentence ends where the answer does
    reader.finish(cut=truncated and not whole)
    return Analysis(
        tuple(reader.opinions),
        tuple(code for code in REASONS if code in reader.reasons),
        tuple(form for form in FORMS if form in reader.forms),
        truncated,
    )


@dataclass
class _Block:
    """The fields of one opinion, while they come in."""

    target: str = ''
    aspect: str = ''
    sentiment: str = ''
    reasoning: str = ''
    seen: set[str] = field(default_factory=set)


@dataclass
class _Reader:
    """Reads lines, one after the other; `last` is the field that a bare line would go on with."""

    source: Source
    opinions: list[Opinion] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)
    forms: set[str] = field(default_factory=set)
    block: _Block | None = None
    last: str = ''
    highest: int = 0
    strayed: bool = False  # a line of no field stands between the block and the next
    keys: set[tuple[str, ...]] = field(default_factory=set)

    def read_lines(self, lines: list[str]) -> None:
        """All lines, up to where the teacher goes on with something else."""
        for index, line in enumerate(lines):
            if not line.strip():
                self.last = ''
                continue
            found = fields.fields(line)
            if not found and line is lines[-1]:
                found = fields.cut_label(line)
            if self._goes_on(line, found):
                self.reasons.add('continuation')
                for left in lines[index:]:
                    self._note(fields.stray(left), ('url', 'echo'))
                self._close()
                return
            for item in found:
                self._take(item)
            if not found:
                self._bare(line)

    def read_blocks(self, blocks: list[dict[str, str]], rest: str) -> None:
        """The opinions of a JSON answer, and what follows them."""
        self.forms.add('json')
        for block in blocks:
            self.block = _Block(**block, seen=set(block))
            self._close()  # complete, wherever the text is cut
        if _goes_on(rest):
            self.reasons.add('continuation')
        elif rest and rest[0] not in '{["':  # else JSON that is cut
            self.reasons.add('meta')

    def finish(self, cut: bool) -> None:
        """Closes the last block, or drops it where the text is cut inside it."""
        if cut and self.block is not None and not self.strayed:
            self.block = None
            self.reasons.add('cut')
        self._close()

    def stops_midway(self, text: str) -> bool:
        """Whether the text stops in the middle of a sentence."""
        text = text.rstrip()
        last = text[text.rfind('\n') + 1 :]
        opens = text.endswith('"') and last.count('"') % 2
        if not text or (text.endswith(_ENDS) and not opens):
            return False
        if fields.stray(last) in ('rule', 'url'):
            return False
        reasoned = [o.reasoning for o in self.opinions if o.reasoning]
        if self.block is not None and not self.strayed and 'reasoning' not in self.block.seen:
            return bool(reasoned) or normalise_sentiment(self.block.sentiment) is None
        return not reasoned or any(r.endswith(_ENDS) for r in reasoned)

    def _goes_on(self, line: str, found: list[fields.Field]) -> bool:
        """Whether the teacher has left the review: a new one, an example, or the numbers restart."""
        begun = bool(self.opinions) or self.block is not None
        if not found:
            return begun and fields.is_continuation(line)
        restarts = found[0].name == 'target' and found[0].number == 1 and self._told()
        return restarts and (self.highest > 1 or (self.highest == 1 and self.strayed))

    def _told(self) -> bool:
        """Whether an opinion has been read, and not just the names of targets."""
        return bool(self.opinions) or (self.block is not None and 'sentiment' in self.block.seen)

    def _take(self, item: fields.Field) -> None:
        self.forms.update(item.forms)
        if item.name == 'target':
            self._start(item)
        elif self.block is None or (item.name in self.block.seen and item.name != 'reasoning'):
            self._carry_over()
        assert self.block is not None
        if item.remark and not item.value and not says_implied(item.remark):
            item = item._replace(value=item.remark)  # `Opinion Target 1 (kettle):`
        old = getattr(self.block, item.name)
        joined = f'{old} {item.value}' if item.name == 'reasoning' and old else item.value
        setattr(self.block, item.name, joined)
        self.block.seen.add(item.name)
        self.last, self.strayed = item.name, False

    def _start(self, item: fields.Field) -> None:
        """A new opinion, unless the open block (aspect first) still lacks its target."""
        if self.block is None or self.block.seen != {'aspect'} or self.block.target:
            self._close()
            self.block = _Block()
        self.highest = max(self.highest, item.number or 0)

    def _carry_over(self) -> None:
        """A new opinion about the target of the one before."""
        target = self.block.target if self.block else ''
        self._close()
        self.block = _Block(target=target)
        if target:
            self.forms.add('carried_target')

    def _bare(self, line: str) -> None:
        """A line without a label: the rest of a field, or of none."""
        kind = fields.stray(line)
        block = self.block
        if block is not None and self.last and kind in ('text', 'remark'):
            value = getattr(block, self.last)
            if not value or (self.last == 'reasoning' and kind == 'text'):
                setattr(block, self.last, f'{value} {fields.plain(line)}'.strip())
                return
        if kind == 'rule':
            return
        begun = bool(self.opinions) or block is not None
        self._note(kind if kind in ('url', 'echo') else 'meta' if begun else 'preamble')
        self.last, self.strayed = '', True

    def _note(self, code: str, among: tuple[str, ...] = tuple(REASONS)) -> None:
        if code in among:
            self.reasons.add(code)

    def _close(self) -> None:
        """Makes an opinion of the open block, if it is one."""
        block, self.block = self.block, None
        if block is None:
            return
        target, remark = values.clean_target(block.target)
        if not target or values.is_placeholder(block.target) or _is_template(block):
            self.reasons.add('placeholder')
            return
        if not block.sentiment:
            self.reasons.add('incomplete')
            return
        aspect = '' if values.is_placeholder(block.aspect) else values.clean_aspect(block.aspect)
        key = (target.lower(), aspect.lower(), block.sentiment.lower())
        if key in self.keys:
            self.reasons.add('repeat')
            return
        reasoning = block.reasoning
        if values.is_bracketed(reasoning) or values.is_placeholder(reasoning):
            self.reasons.update(['placeholder'] if reasoning else [])
            reasoning = ''
        support = self.source.support(target, reasoning, says_implied(remark))
        if values.is_bracketed(block.target) and support in ('implicit', 'unsupported'):
            self.reasons.add('placeholder')
            return
        self.keys.add(key)
        raw = block.sentiment.strip(' "\'“”')
        self.opinions.append(
            Opinion(target, aspect, normalise_sentiment(raw), raw, reasoning, support)
        )


def _is_template(block: _Block) -> bool:
    """Whether the sentiment is a template's words: `SentimentValue1`, `(your own analysis here)`."""
    silent = bool(block.sentiment) and normalise_sentiment(block.sentiment) is None
    return silent and values.is_placeholder(block.sentiment) and not block.reasoning


def _json_blocks(text: str) -> tuple[list[dict[str, str]], str] | None:
    """(the opinions of an answer that is JSON, whole or cut; what follows them); None: it is not JSON."""
    text = text.lstrip('\ufeff \t\r\n')
    text = re.sub(r'^```\w*\s*', '', text)
    if not re.match(r'[{\[]\s*["{\[\]}]', text):
        return None
    decoder = json.JSONDecoder()
    blocks: list[dict[str, str]] = []
    start = end = 0
    for _ in range(_MOST_OBJECTS):
        start = text.find('{', start)
        if start < 0 or (blocks and _goes_on(text[end:start])):
            break
        try:
            value, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start += 1  # an inner object may be complete where this one is cut
            continue
        blocks += _opinions_in(value)
        end = start
    return blocks, text[end:].strip(' \t\r\n`,]}')


def _goes_on(text: str) -> bool:
    """Whether the teacher goes on with something else in one of the lines."""
    return any(map(fields.is_continuation, text.splitlines()))


def _opinions_in(value: Any) -> Iterator[dict[str, str]]:
    """The opinions in a JSON value, in their order, however deep."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        if not isinstance(value, dict):
            continue
        named = {fields.field_name(str(key))[0]: item for key, item in value.items()}
        block = {
            name: ' '.join(item.split())
            for name, item in named.items()
            if name and isinstance(item, str)
        }
        if 'target' in block:
            yield block
        else:
            waiting += reversed(value.values())

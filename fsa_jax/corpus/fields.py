"""A line of a teacher's answer: the fields it holds, or what else it is.

Teachers write `Opinion Target 1: "x"`, but also `**Aspect:** x`, `Sentiment 2: x`, `Reasoin: x`, and a
whole opinion on one line with `--`, a comma or a blank between its fields.
"""

import difflib
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

FIELDS = ('target', 'aspect', 'sentiment', 'reasoning')  # in the order of a block
_ALIASES = {
    'opinion target': 'target', 'opinion targets': 'target', 'target': 'target', 'opinion entity': 'target',
    'aspect': 'aspect', 'aspects': 'aspect', 'aspect category': 'aspect', 'aspect term': 'aspect',
    'sentiment': 'sentiment', 'sentiments': 'sentiment', 'sentiment polarity': 'sentiment',
    'sentiment level': 'sentiment', 'polarity': 'sentiment',
    'reasoning': 'reasoning', 'reason': 'reasoning', 'reasons': 'reasoning', 'rationale': 'reasoning',
    'explanation': 'reasoning', 'justification': 'reasoning', 'reasoning process': 'reasoning',
}  # fmt: skip
_MISSPELT = ('opinion target', 'aspect', 'sentiment', 'reasoning')
_LABEL_LENGTH = 120  # characters: a bound, so that no line takes long
_LINE_LENGTH = 1000  # of a line that is no field
_ALIKE = 0.78  # of difflib: `Reasoin` for `Reasoning` is .88, `Reviewing` .67

_LABEL = re.compile(
    r'[\s>#*\-•●+_`]*(?:\(?(?P<item>\d{1,3})[.)]\s*)?[\s*_`]*'
    r'(?P<label>[A-Za-z][A-Za-z ]{2,23}?)\s*(?:\(?#?\s*(?P<number>\d{1,3})\)?)?\s*'
    r'(?:\((?P<remark>[^()\n]{1,40})\)\s*)?[*_`]*\s*[:：]'
)
_USUAL = re.compile(
    r'(?:Opinion Target (\d{1,3})|Aspect|Sentiment|Reasoning): '
)  # most lines: no need to look closer
_INLINE = re.compile(
    r'(?:\s*(?:-{1,3}|—|–|[,;|.])\s*|\s+)[*_`]*'
    r'(?P<label>Opinion Target|Aspect|Sentiment|Reasoning|Reason)\s*#?(?P<number>\d{1,3})?[*_`]*\s*[:：]'
)
_BARE = re.compile(r'[\s*#_`]*(Opinion Target|Aspect|Sentiment|Reasoning)\s*(\d{1,3})?[\s*_`]*$')
_MARKUP = re.compile(r'\*\*|__|`|^#+\s|^\s*\*+\s*(?=\w)|\*+$')

_MARKED = re.compile(r'[*_`#]')
_CONTINUATION = re.compile(
    r"""\W*(?:
      (?:(?:user|original|new|next|another|customer|sample|example|test)\s+)*(?:review|example|sample)s?
        (?:\s+(?:text|output|input|response|answer|analysis))?\s*\#?\d*\s*[:：]
    | let[’']?s\s+(?:now\s+)?(?:analy|look|consider|try|move|take|do)
    | (?:please\s+)?(?:now\s+|next,?\s+)?(?:consider|analy[sz]e|read|take)\s+(?:the\s+following|another|this\s+(?:new|next))
    | (?:here(?:[’']s|\s+is|\s+are)|now|next|given|below\s+is)\b.{0,40}\b(?:another|next|new|following)\b.{0,20}\b(?:review|example)
    | (?:another|(?:the\s+)?(?:next|following))\s+(?:review|example)
    | (?:input|instructions?|prompt|user|human|assistant|question|exercise|solution)\s*\#?\d*\s*[:：]
    | </?s>|<\||\[/?INST|<</?SYS
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_ECHO = re.compile(
    r'\s*(?:```|~~~|[{}\[\]]\s*$|[{\[]\s*["\'{\[]|["\'}\]][^:\n]{0,40}["\']\s*:|\|.*\||["\']\s*Opinion Target|'
    r'</?[a-z]+[\s>/]|(?:import|from|def|class|for|if|return|print|while)\b.*[(:=]|[\w.\[\]]+\s*=\s*\S|[}\])]+[,;]?\s*$)'
)
_URL = re.compile(r'https?://|www\.\w')
_REMARK = re.compile(r'\W{0,3}[A-Za-z][\w ./()-]{0,30}?[:：](?!\S)')  # `Confidence: 90%`, `Note: …`
_CHAT = re.compile(
    r'\W*(?:please |kindly )?(?:let me know|feel free|i hope (?:this|it)\b|thank you\b|thanks for)',
    re.IGNORECASE,
)
_RULE = re.compile(r'\s*[-–—=_*~#.•\s]{3,}$')


class Field(NamedTuple):
    """One field of an opinion; `number` is that of its label or list item, `value` without markup."""

    name: str
    value: str
    number: int | None = None
    remark: str = ''
    forms: tuple[str, ...] = ()


@functools.lru_cache(maxsize=4096)
def field_name(label: str) -> tuple[str, bool]:
    """(the field that a label names or '', whether it is misspelt)."""
    words = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', label).replace('_', ' ').lower().split()
    label = ' '.join(words)
    if label in _ALIASES:
        return _ALIASES[label], False
    for name in _MISSPELT:
        near = len(label) >= 5 and label[0] == name[0] and abs(len(label) - len(name)) <= 2
        if near and difflib.SequenceMatcher(None, label, name).ratio() >= _ALIKE:
            return _ALIASES[name], True
    return '', False


def fields(line: str) -> list[Field]:
    """The fields of a line, in their order; empty where the line opens with none."""
    if ':' not in line and '：' not in line:
        bare = _BARE.match(line[:_LABEL_LENGTH])  # cut before its colon
        return [_field(field_name(bare[1])[0], '', bare[2])] if bare else []
    line = ' '.join(line.split())
    usual = _USUAL.match(line)
    if usual and line.find(':', usual.end()) < 0:
        name = 'target' if usual[1] else line[: usual.end() - 2].lower()
        return [_field(name, line[usual.end() :], usual[1])]
    head = _LABEL.match(line[:_LABEL_LENGTH])
    name, misspelt = field_name(head['label']) if head else ('', False)
    if head is None or not name:
        return []
    forms = [form for form, there in (
        ('misspelt', misspelt),
        ('markup', '*' in head[0] or '#' in head[0] or '`' in head[0]),
        ('list', head['item'] is not None or head[0].lstrip()[:1] in '-•●+'),
        ('numbered', name != 'target' and head['number'] is not None),
    ) if there]  # fmt: skip
    number = head['number'] or (head['item'] if name == 'target' else None)
    found, start, label, remark = [], head.end(), name, head['remark'] or ''
    for inline in _INLINE.finditer(line, start):
        following = field_name(inline['label'])[0]
        if FIELDS.index(following) <= FIELDS.index(label) and not (
            label == 'reasoning' and following == 'target'
        ):
            continue
        found.append(_field(label, line[start : inline.start()], number, remark, forms))
        start, label, number, remark = inline.end(), following, inline['number'], ''
        forms = ['one_line']
    found.append(_field(label, line[start:], number, remark, forms))
    return found


def cut_label(line: str) -> list[Field]:
    """The field whose label an answer's last line begins: `Reas`; empty for any other line."""
    begun = plain(line)
    labels = ('Opinion Target', 'Aspect', 'Sentiment', 'Reasoning')
    return [
        Field(field_name(label)[0], '') for label in labels if begun and label.startswith(begun)
    ]


def _field(
    name: str, value: str, number: str | None, remark: str = '', forms: Sequence[str] = ()
) -> Field:
    return Field(name, plain(value), int(number) if number else None, remark, tuple(forms))


def plain(text: str) -> str:
    """Text without markdown marks and outer blanks."""
    text = text.strip()
    return _MARKUP.sub('', text).strip() if _MARKED.search(text) else text


def is_continuation(line: str) -> bool:
    """Whether a made-up review, an example or another turn of the dialogue begins here."""
    return bool(_CONTINUATION.match(line[:_LABEL_LENGTH]))


def stray(line: str) -> str:
    """What a line outside all fields is: 'url', 'echo' (JSON, table, code), 'rule', 'remark' or 'text'."""
    if _RULE.match(line):
        return 'rule'
    line = line[:_LINE_LENGTH]
    if _ECHO.match(line):
        return 'echo'
    if _URL.search(line):
        return 'url'
    return 'remark' if _REMARK.match(line) or _CHAT.match(line) else 'text'

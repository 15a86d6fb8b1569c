"""The values of an opinion's fields, cleaned: targets, aspects, sentiments."""

import re

_QUOTES = '"\'“”‘’'
_OUTER = f' \t{_QUOTES},.;:'
_LONGEST = 80  # characters of a template's words
_REMARK = re.compile(r'\s*\(([^()]*)\)\s*\.?$')
_PLAIN = re.compile(r'"(\w+(?: \w+)*)"')  # most targets
_QUOTED_FIRST = re.compile(r'["“]([^"“”]+)["”]\s*(?:,(?!\s*["“])|\s*$)')
_EXPLAINED = re.compile(
    r',?\s+(?:which|referring|i\.e\.|e\.g\.|implied|implying|that is|regarding|relat(?:ed|ing)\b|meaning|concerning|'
    r'encompassing|indicat\w+|as in|including)\b.*',
    re.IGNORECASE | re.DOTALL,
)
_TEMPLATE = re.compile(
    r'(?:opinion\s*)?(?:target|aspect|sentiment|reasoning|entity|product|review|item)\s*(?:name|value|text|here)\s*\d*'
    r'|opinion target\s*\d*|(?:target|aspect|sentiment|reasoning)\s*\d*'
    r'|(?:your|insert|enter|fill|add|write)\b.*'
    r'|[.…\-_?\s]*|x+|n\W?/?\W?a|none?|null|nil|unknown|undefined|unspecified|tbd|todo'
    r'|not (?:specified|applicable|mentioned|available|given|provided)',
    re.IGNORECASE,
)
_BRACKETS = {'[': ']', '<': '>', '{': '}'}


def clean_target(raw: str) -> tuple[str, str]:
    """(the opinion target without quotation marks and remarks, the remark in brackets or '').

    `"price" (implied by …)` -> price; `"it", as in …` -> it; `"a", "b"` -> a, b.
    """
    plain = _PLAIN.fullmatch(raw)
    if plain:
        return plain[1], ''
    text, remark = raw.strip(), ''
    found = _REMARK.search(text)
    if found and text[: found.start()].strip(_OUTER):
        text, remark = text[: found.start()], found[1]
    elif found:
        text = found[1]
    quoted = _QUOTED_FIRST.match(text)
    if quoted:
        text = quoted[1]
    text = re.sub(f'(?<!\\w)[{_QUOTES}]|[{_QUOTES}](?!\\w)', '', _unbracketed(text))
    return ' '.join(text.split()).strip(_OUTER), remark


def clean_aspect(raw: str) -> str:
    """The aspect without quotation marks and without the explanation that teachers add."""
    if raw.isalpha():
        return raw
    text = _REMARK.sub('', raw.strip())
    text = _EXPLAINED.sub('', text) or text
    return ' '.join(_unbracketed(text).split()).strip(_OUTER)


def is_placeholder(raw: str) -> bool:
    """Whether a value is that of a template: `[Product Name]`, `TargetName1`, `(your analysis here)`."""
    if len(raw) > _LONGEST:
        return False
    text = raw.strip(_OUTER + '*`')
    if text[:1] == '(' and text[-1:] == ')':
        text = text[1:-1]
    return bool(_TEMPLATE.fullmatch(_unbracketed(text).strip(_OUTER)))


def is_bracketed(raw: str) -> bool:
    """Whether a value stands in brackets, as a template's does."""
    text = raw.strip(_OUTER)
    return len(text) > 1 and _BRACKETS.get(text[0]) == text[-1]


def _unbracketed(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and _BRACKETS.get(text[0]) == text[-1] else text

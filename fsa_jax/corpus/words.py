"""The words of a text as texts are compared: NFKC, lower case, letters and digits alone."""

import html
import re
import unicodedata

_WORD = re.compile(r'[^\W_]+')
_SPACED = bytes(i if chr(i).isalnum() else 32 for i in range(128)) + bytes(128)


def words(text: str) -> list[str]:
    """`"Don't  WAIT!"` is `['don', 't', 'wait']`; entities (`&quot;`) count as what they stand for."""
    if '&' in text:
        text = html.unescape(text)
    if text.isascii():
        return text.lower().encode().translate(_SPACED).decode().split()
    return _WORD.findall(unicodedata.normalize('NFKC', text).lower())

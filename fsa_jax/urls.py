"""URLs without what may be secret in them: who logs in, and the query (a signed link's key)."""

import re

from fsa_jax.errors import UserError

_URL = re.compile(
    r"""(?P<scheme>\b[a-z][a-z0-9+.-]*://)([^/?\#\s'"]*@)?(?P<rest>[^?\#\s'"]*)([?\#][^\s'"]*)?""",
    re.IGNORECASE | re.VERBOSE,
)


def public(text: str) -> str:
    """A text with each of its URLs cut to scheme, host and path: for pages, records and messages."""
    return _URL.sub(r'\g<scheme>\g<rest>', text)


def check_no_password(knob: str, url: str) -> None:
    """UserError, which does not repeat it, where `url` holds a user or password: configs are recorded."""
    if re.match(r'[^/?#]*//[^/?#]*@', url):
        raise UserError(
            f'{knob} must hold no user or password, as it is recorded; the place for them is ~/.netrc'
        )

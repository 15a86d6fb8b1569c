"""The errors that are one line, and the exit status of each."""

import errno
import os
import re
import socket

_PASSING = {
    errno.EAGAIN, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
}  # fmt: skip
# Of libraries that have errors of their own, without a common class: aiohttp, httpx, requests, botocore, Google's.
_OF_NETWORK = re.compile('connect|timeout|transport', re.IGNORECASE)


class UserError(Exception):
    """Bad input: one line that says what was expected, what came, and which knob to turn.

    The command line prints it without a traceback and exits with `status`.
    """

    status = 2


class Unreachable(UserError):
    """A network, a server, a store or an engine that is down: the same command may well succeed later."""

    status = os.EX_TEMPFAIL  # 75


def may_pass(error: BaseException) -> bool:
    """Whether what failed is a network, a server or a file server, not what the user gave."""
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return True
    if _OF_NETWORK.search(type(error).__name__):
        return True
    code = getattr(error, 'code', None)  # of HTTP
    if isinstance(code, int) and code >= 500:
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def exit_status(error: BaseException) -> int:
    """75 for what may pass, 2 for other bad input (an OSError says itself what is wrong), else 1.

    The launch scripts start a run again that ends with another status than 0 and 2.
    """
    if isinstance(error, UserError):
        return error.status
    if may_pass(error):
        return Unreachable.status
    return UserError.status if isinstance(error, OSError) else 1


def nearest(name: str, names) -> str:
    """`' (did you mean X?)'` for the nearest of `names`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f' (did you mean {close[0]!r}?)' if close else ''

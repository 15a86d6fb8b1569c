"""The error a user can act on."""


class UserError(Exception):
    """Bad input: one line that says what was expected, what came, and which knob to turn.

    The command line prints it without a traceback and exits with status 2.
    """


def nearest(name: str, names) -> str:
    """`' (did you mean X?)'` for the nearest of `names`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f' (did you mean {close[0]!r}?)' if close else ''

"""Who uses the command line or the console: the login user, as rows and the ledger name them."""

from __future__ import annotations


def person() -> str:
    """``local:`` and the login name; the user's number where it has no name, as in many containers."""
    return f"local:{login_name()}"


def login_name() -> str:
    """Who is logged in; the user's number where it has no name, as in many containers."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

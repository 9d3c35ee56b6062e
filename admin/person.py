"""Who uses the command line or the console: the login user, as rows and the ledger name them.

Where the program runs as a service's user, through sudo or su, the kernel still knows who logged in; that person is
named, and not the service.
"""

from __future__ import annotations

from pathlib import Path

#: What the kernel says where nobody logged in, as in a container or a service.
_NOBODY = 2**32 - 1
_LOGIN_UID = Path("/proc/self/loginuid")


def person() -> str:
    """``local:`` and the login name; the user's number where it has no name, as in many containers."""
    return f"local:{login_name()}"


def login_name() -> str:
    """Who is logged in; the user's number where it has no name, as in many containers."""
    import getpass
    import os

    known = _name_of(_logged_in())
    if known:
        return known
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _logged_in() -> int:
    """The number of the user who logged in, which sudo and su leave as it is; none where the kernel does not say."""
    try:
        return int(_LOGIN_UID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _NOBODY


def _name_of(number: int) -> str:
    import pwd

    if number == _NOBODY:
        return ""
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return ""

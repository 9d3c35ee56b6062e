"""``python -m admin.guard PARENT PROGRAM ...``: become PROGRAM, and get SIGTERM when PARENT dies.

The supervisor starts its children through it, so that a ``kill -9`` of the supervisor leaves no process behind. The
kernel keeps the promise across ``exec`` (prctl(2), PR_SET_PDEATHSIG). It is a program of its own because code between
``fork`` and ``exec`` of a threaded process may deadlock. On other systems than Linux it only becomes PROGRAM.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Ask the kernel, make sure that the parent still lives, and go."""
    parent, *program = arguments
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(0)  # it died before the kernel was asked
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Which process works at a job: its name in the database, and whether it still lives."""

from __future__ import annotations

import os
import socket

import psutil


def this_process() -> str:
    """What this process is called: the machine, its number, and when it was born, for numbers come again."""
    process = psutil.Process()
    return f"{socket.gethostname()}/{os.getpid()}/{process.create_time()}"


def is_dead(owner: str) -> bool:
    """Whether a process of this machine has ended; of another machine's nothing is known but its lease."""
    host, _, rest = owner.partition("/")
    number, _, born = rest.partition("/")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        return str(psutil.Process(int(number)).create_time()) != born
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False

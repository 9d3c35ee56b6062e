"""Discord: its listeners and messages, translated to and from the use cases of :mod:`bot`."""

"""The documentation, and the command that makes its generated parts (``python -m docs.build``)."""

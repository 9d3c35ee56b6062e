"""The starter model: the weights that ship with Redraft, and everything that builds and measures them.

Serving code reads `weights/` like any other Hugging Face directory and imports nothing from here.
"""

"""The learning loop: from corrections to pairs, runs, gates and promotions. Every rule of it lives here, once.

These files coordinate: they read and write rows, and hand plain dataclasses to what touches the model
(:mod:`engine.training`, :mod:`engine.model`) or the text (:mod:`engine.scoring`). None of them imports torch.
"""

"""What the console's screens ask for: plain values out of the use cases of ``engine.learning``, a screen a file.

Every function here blocks and is called in a thread; none knows a widget, and none holds a rule of its own.
"""

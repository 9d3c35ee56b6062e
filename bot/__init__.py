"""Chat platforms: the listeners, the use cases that they share, and the scheduler."""

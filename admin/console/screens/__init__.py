"""The console's screens, one a file: what is shown, and which key calls what."""

"""The administrators' console: what ``redraft console`` shows and does, over the calls that the command line makes."""

"""The command line and the administrators' console."""

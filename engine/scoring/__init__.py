"""Measuring summaries against people's: metrics, intervals, and the gate's verdict. Knows no model and no database."""

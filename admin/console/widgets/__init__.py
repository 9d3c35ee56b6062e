"""What several screens of the console are made of; no widget knows a table, a rule or an engine."""

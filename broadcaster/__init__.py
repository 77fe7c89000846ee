"""What may be said about an incident, by whom, and what became of it."""

"""Count, list and sum questions, computed from the rows of tables and record sets instead of being written by a model."""

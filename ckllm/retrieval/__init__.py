"""From a question to the evidence for its answer."""

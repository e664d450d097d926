"""Routers: from a question to the expert that answers it."""

"""Experts, and the routers that choose among them."""

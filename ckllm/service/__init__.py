"""The HTTP service. Start with `app.py` (what there is) and `edge.py` (what every request goes through)."""

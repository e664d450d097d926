"""The web application: a Streamlit front of the service, which it reaches through :mod:`ckllm.client` alone.

Start with `app.py`. What a person types, and every document, is somebody else's text: it is shown by `markup.py` and by the
components of `components.py`, which never let it become HTML or Markdown.
"""

"""Every error that ckllm raises on purpose.

::

    CkllmError            the root: catch this one to catch all
    ├── UsageError        the caller asked for something that cannot be: wrong argument, unknown name, bad setting
    ├── DataError         the input cannot be used: unreadable file, broken document, foreign checkpoint
    └── UpstreamError     something that ckllm depends on did not serve: the store, a model, a server
        └── StoreError    the knowledge base cannot be used: locked, unreachable, made with another embedder

An error's message is one line that says what happened, to which input, and what to do about it. Each edge
(command line, HTTP) translates the tree once: exit codes are in :mod:`ckllm.cli`.
"""

from __future__ import annotations

import errno


class CkllmError(Exception):
    """Root of the tree. `str(error)` is one line, made for people."""


class UsageError(CkllmError):
    """Wrong usage or settings; the message names the argument and what it accepts."""


class DataError(CkllmError):
    """An input that cannot be used; the message names the input and the mend."""


class UpstreamError(CkllmError):
    """A dependency (model, server, store) that did not serve."""


class StoreError(UpstreamError):
    """The knowledge base cannot be used: locked by another process, unreachable, or made with another embedder."""


class UnknownDocumentError(UsageError):
    """No document of that id is visible to the caller."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the system says that there is no room: no fault of the input that was being worked on."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)

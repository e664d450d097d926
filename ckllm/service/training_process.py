"""The child in which an expert is trained: at the lowest priority, with memory of its own, gone when the service goes.

Started by `ckllm.service.training`. Stdin: settings and plan, pickled by the service, then nothing until the end of the
pipe, which ends this process. Stdout: a line of JSON whenever there is something to tell, the last one with `done` or `error`.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any

from ckllm.errors import CkllmError

if TYPE_CHECKING:
    from ckllm.experts.training.loop import Progress

ENDED = 4
"""Exit code where the service has gone, or has stopped the run; checkpoints are whole at any moment."""


def main() -> None:
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no progress
    os.nice(19)
    settings, plan = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the service, over a pipe that only it has
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()

    def tell(**values: Any) -> None:
        told.write(json.dumps(values) + "\n")
        told.flush()

    def progress(at: Progress) -> None:
        tell(step=at.step, steps=at.steps, loss=at.loss, validation_loss=at.validation_loss, seconds_left=at.seconds_left)

    try:
        from ckllm.workshop import train

        train(settings, plan, progress, lambda text: tell(says=text))
    except CkllmError as error:
        tell(error=str(error))
        return
    tell(done=True)


def _end_with(pipe: int) -> None:
    while os.read(pipe, 4096):
        pass  # nothing is sent; read as the system gives it, since a buffered read would hold up the interpreter's end
    os._exit(ENDED)


if __name__ == "__main__":
    main()

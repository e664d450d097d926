"""Training an expert in the background, for administrators: one run at a time, with settings that cannot harm the machine.

Rows come from a collection or with the request; nothing on the machine can be named. The run is a process of its own
(`ckllm.service.training_process`), so that questions are answered meanwhile. It ends with the service; begun again with the same
name and rows, it goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Self

from fastapi import APIRouter, Depends
from pydantic import Field, model_validator
from starlette.responses import Response

from ckllm.experts.registry import checked_name
from ckllm.experts.table import open_registry, router_folder
from ckllm.service.caller import Caller, administrator, reader
from ckllm.service.errors import HttpError, Json
from ckllm.service.nouns import JobState, TrainingRun
from ckllm.service.schemas import Body, Name

if TYPE_CHECKING:
    from ckllm.config import Settings
    from ckllm.experts.training.order import Plan
    from ckllm.service.core import Core

Administrator = Annotated[Caller, Depends(administrator)]
_SCORED = 20
_POINTS = 400
"""Of the curve; 200 steps stay well below it."""
_END_S = 10.0
"""How long a process that is to end may take before it is killed."""


class TrainBody(Body):
    name: str = Field(min_length=1, max_length=64, description="of the new expert")
    collection: Name | None = Field(None, description="make the rows of these documents")
    rows: str | None = Field(None, min_length=1, description="JSON Lines of messages, or of prompt and response, with a source")
    description: str = Field("", max_length=200)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.collection is None) == (self.rows is None):
            raise ValueError("give either collection or rows")
        return self


class Runs:
    """The run of this service: the one that is under way, else the last one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._run: TrainingRun | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()

    def current(self) -> TrainingRun | None:
        return self._run

    def start(self, body: TrainBody) -> TrainingRun:
        """HttpError 409 while another run is under way, UsageError for a name that cannot be or is taken."""
        checked_name(body.name)
        registry = open_registry(self._settings)
        if body.name in registry:
            raise HttpError(409, "expert_exists", f"there is an expert {body.name!r} already: give another name", "name")
        with self._guard:
            if self._run is not None and not self._run.state.final:
                raise HttpError(409, "training_runs", f"the expert {self._run.name!r} is being trained: wait for it, or stop it")
            _ended(self._process)
            plan = self._plan(body)
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "ckllm.service.training_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(pickle.dumps((self._settings, plan)))
            process.stdin.flush()
            self._run = TrainingRun(body.name, JobState.RUNNING, time.time())
            threading.Thread(target=self._follow, args=(process, process.stdout), name="training", daemon=True).start()
            return self._run

    def stop(self) -> TrainingRun | None:
        """The run ends, and may be gone on with: its process is gone when this returns."""
        with self._guard:
            process, run = self._process, self._run
            if process is not None and run is not None and not run.state.final:
                self._run = run = replace(run, state=JobState.CANCELLED)
                assert process.stdin is not None
                process.stdin.close()
        _ended(process)
        return run

    def _plan(self, body: TrainBody) -> Plan:
        from ckllm.experts.training.loop import TrainingOptions
        from ckllm.experts.training.order import Plan

        data: Path | None = None
        if body.rows is not None:
            data = self._rows(body.name)
            data.parent.mkdir(parents=True, exist_ok=True)
            data.write_text(body.rows, encoding="utf-8", errors="replace")
        options = TrainingOptions(
            epochs=2, most_steps=200, max_tokens=1024, pack_tokens=1024, packs_per_step=1, evaluate_every=10, checkpoint_every=5,
            patience=3,
        )  # fmt: skip
        about = f"collection {body.collection}" if body.collection else "rows of a request"
        return Plan(
            name=body.name, data=data, collection=body.collection or "", options=options, description=body.description,
            command=f"training in the service, {about}", score_rows=_SCORED, open_only=True,
        )  # fmt: skip

    def _rows(self, name: str) -> Path:
        """Where rows that came with a request lie while they are trained on."""
        return self._settings.home / "training" / f"{name}.rows.jsonl"

    def _follow(self, process: subprocess.Popen[bytes], told: IO[bytes]) -> None:
        for line in told:
            with contextlib.suppress(ValueError):  # half a line of a process that was killed
                self._heard(process, json.loads(line))
        code = process.wait()
        with self._guard:
            if self._process is process and self._run is not None and not self._run.state.final:
                error = f"the training process ended with exit code {code}; the service's log may say why"
                self._run = replace(self._run, state=JobState.FAILED, error=error)

    def _heard(self, process: subprocess.Popen[bytes], said: dict[str, Any]) -> None:
        with self._guard:
            run = self._run
            if self._process is not process or run is None or run.state.final:
                return
            if "step" in said:
                point = (said["step"], said["loss"], said["validation_loss"])
                known = {key: said[key] for key in ("step", "steps", "seconds_left")}
                self._run = replace(run, curve=(*run.curve, point)[-_POINTS:], doing="", **known)
            elif "says" in said:
                self._run = replace(run, doing=said["says"])
            elif "error" in said:
                self._run = replace(run, state=JobState.FAILED, error=said["error"])
            else:
                self._rows(run.name).unlink(missing_ok=True)
                self._run = replace(run, state=JobState.DONE, doing="")


def _ended(process: subprocess.Popen[bytes] | None) -> None:
    """Wait for the end of a process that has been told to end, or has told its last; two at once would share checkpoints."""
    if process is None:
        return
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def router(core: Core) -> APIRouter:
    routes = APIRouter(tags=["experts"])
    runs = Runs(core.settings)

    @routes.get("/v1/router", response_model=None)
    async def trained(_caller: Annotated[Caller, Depends(reader)]) -> Response:
        """Held-out figures of the trained router with its confusion table; null where none is trained."""
        return Json({"router": await core.work(_router, core.settings)})

    @routes.get("/v1/training", response_model=None)
    async def run(_caller: Administrator) -> Response:
        """The training that is under way, or the last one of this service; null where there was none."""
        return Json({"run": _json(runs.current())})

    @routes.post("/v1/training", response_model=None, status_code=202)
    async def start(body: TrainBody, caller: Administrator) -> Response:
        """Train a new expert in the background, from a collection's documents or from rows."""
        if body.collection is not None and body.collection not in await core.work(core.collections, caller):
            raise HttpError(404, "unknown_collection", f"there is no collection {body.collection!r}", "collection")
        return Json({"run": _json(await core.work(runs.start, body))}, 202)

    @routes.delete("/v1/training", response_model=None)
    async def stop(_caller: Administrator) -> Response:
        """Stop the run; the same name and rows go on from its last checkpoint."""
        return Json({"run": _json(await core.work(runs.stop))})

    return routes


def _json(run: TrainingRun | None) -> dict[str, Any] | None:
    return None if run is None else run.as_json()


def _router(settings: Settings) -> dict[str, Any] | None:
    from ckllm.experts.routers.folder import has_router, load_router

    folder = router_folder(settings)
    if not has_router(folder):
        return None
    report = load_router(folder).report
    return {key: value for key, value in report.items() if key != "seed"}

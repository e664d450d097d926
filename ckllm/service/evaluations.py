"""Saved evaluations, for administrators: their figures, not their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from ckllm.service.caller import Caller, administrator
from ckllm.service.errors import Json

if TYPE_CHECKING:
    from ckllm.service.core import Core

LISTED = 100
_PARTS = ("about", "metrics", "counts", "by_language", "risk_coverage", "operating_points")


def router(core: Core) -> APIRouter:
    routes = APIRouter(tags=["operation"])

    @routes.get("/v1/evaluations", response_model=None)
    async def evaluations(_caller: Annotated[Caller, Depends(administrator)]) -> Response:
        """What `ckllm eval` has saved in the home, the newest first."""
        return Json({"evaluations": await core.work(saved, core.settings.home / "evaluations")})

    return routes


def saved(folder: Path) -> list[dict[str, Any]]:
    """The reports of a folder; a file that is no report is left out."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.name, reverse=True) if folder.is_dir() else []
    return [report for file in files[:LISTED] if (report := _report(file))]


def _report(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in _PARTS[:3]):
        return None
    return {"id": file.stem, **{part: content[part] for part in _PARTS if part in content}}

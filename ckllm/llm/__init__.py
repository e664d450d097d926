"""Language model engines behind one interface."""

from __future__ import annotations

from ckllm.llm.base import BaseLLM, GenerationRequest, GenerationStream
from ckllm.llm.scripted import ScriptedLLM

__all__ = ["BaseLLM", "GenerationRequest", "GenerationStream", "ScriptedLLM"]

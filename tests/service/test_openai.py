"""The official client against a service with the models that ship with ckllm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from ckllm.llm.table import openvino_folder
from tests.service import test_process
from tests.service.test_process import ckllm, serving, write

QUESTION = "Who built the ropeway at Gansett?"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, models_folder: Path) -> Iterator[OpenAI]:
    openvino_folder(models_folder)  # converted once for all tests
    folder: Path = tmp_path_factory.mktemp("models")
    (folder / "home").mkdir()
    (folder / "home" / "models").symlink_to(models_folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CKLLM_EMBEDDING__MODEL", "CKLLM_LLM__ENGINE"):
            patch.delitem(test_process.ENVIRONMENT, name)
        ckllm(
            folder / "home", "ingest", str(write(folder, "a.txt", "The ropeway at Gansett was built in 1931 by Odile Ferrand.\n"))
        )
        with serving(folder / "home") as (_, ours):
            yield OpenAI(base_url=f"{ours.base_url}/v1", api_key="none", max_retries=0, timeout=120)


def test_the_official_client_gets_cited_answers_whole_and_streamed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()][:2] == ["ckllm", "base"]
    whole = client.chat.completions.create(model="ckllm", messages=[{"role": "user", "content": QUESTION}])
    assert "Odile Ferrand" in (whole.choices[0].message.content or "")
    assert whole.model_extra
    assert whole.model_extra["citations"][0]["quote"]
    last, text = None, ""
    for chunk in client.chat.completions.create(model="ckllm", messages=[{"role": "user", "content": QUESTION}], stream=True):
        last = chunk
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    assert text == whole.choices[0].message.content
    assert last is not None
    assert last.model_extra
    assert last.model_extra["citations"] == whole.model_extra["citations"]


def test_the_official_client_understands_the_errors(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="no-such-expert", messages=[{"role": "user", "content": QUESTION}])
    assert unknown.value.code == "unknown_model"
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="ckllm", messages=[])

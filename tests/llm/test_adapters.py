"""The experts that ship say the same on the fast engine as on transformers with PEFT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm.contracts import Hit
from ckllm.experts.registry import SHIPPED
from ckllm.llm.openvino import OpenVinoLLM
from ckllm.llm.table import huggingface_folder
from ckllm.llm.transformers import TransformersLLM
from ckllm.prompting.grounded import grounded_messages

MOST_TOKENS = 24
PASSAGES = {
    "The Lantern Mill": "The Lantern Mill was built in 1871 on the north bank of the Venn. It ground rye until 1934, when its "
    "wheel broke in a flood. Since 1990 it has been a museum, which shows how paper was made.",
    "Tides in the harbour": "The harbour of Wend falls dry twice a day, because the bar at its mouth holds the water back. Boats "
    "with a deep keel wait outside for four hours. The bar moves about two metres east every year.",
}
QUESTIONS = {
    "qa": ("When was the Lantern Mill built?", "How long do boats with a deep keel wait?", "Which grain did the mill grind?"),
    "explain": ("Explain why the harbour falls dry.", "Describe what became of the mill.", "What happens to the bar, in detail?"),
}


@pytest.fixture(scope="module")
def reference(models_folder: Path) -> Iterator[TransformersLLM]:
    with TransformersLLM(str(huggingface_folder(models_folder)), device="cpu", max_tokens=MOST_TOKENS) as llm:
        yield llm


@pytest.mark.slow
@pytest.mark.parametrize("expert", QUESTIONS)
def test_a_shipped_expert_says_the_same_on_both_engines(
    expert: str, openvino_llm: OpenVinoLLM, reference: TransformersLLM
) -> None:
    hits = [
        Hit(rank=n, score=0.0, text=text, source="", title=title, page=None, section="", start=0, end=len(text),
            document_id=str(n), chunk_id=str(n), found_by=())
        for n, (title, text) in enumerate(PASSAGES.items(), 1)
    ]  # fmt: skip
    prompts = [list(grounded_messages(question, hits)) for question in QUESTIONS[expert]]
    adapters = {str(SHIPPED / expert): 1.0}
    fast, slow, base = (
        [llm.run(prompt, adapters=chosen, max_tokens=MOST_TOKENS) for prompt in prompts]
        for llm, chosen in ((openvino_llm, adapters), (reference, adapters), (openvino_llm, {}))
    )
    assert fast == slow
    assert fast != base, "the adapter is in use"

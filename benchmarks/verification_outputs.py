"""Sentences that the shipped model and its experts wrote about known passages, read and labelled by hand.

    python -m benchmarks.verification_outputs FOLDER --models DIR --out FILE

FOLDER holds squad2, clapnq and xquad. The command asks questions of both halves of the articles, those to train on and those to
test on, answerable ones and others, and writes the statements of the answers to FILE, still without labels; it may be stopped.

`verification_outputs.jsonl`, beside this file, holds such statements with a label, without passages and questions, which are
found by their ids in FOLDER (for some, tydiqa). A part was written by this command; the other, mostly of training articles, by
the greedy answers with which the experts were scored, from prompts of several passages. Labels, given by one reader before any
verifier had scored the sentences: `yes`, the sentence of the passage that it is aligned with says all of it; `passage`, the
passage says all of it, but not that sentence alone; `no`, something in it is said nowhere in the passage, as also where it
speaks about the passage ("the passage discusses …"). What is no statement was left out. `again`, where it is there, is the label
of a second reading, in another order and without the first. Licence of that file: CC BY-SA 4.0, since the statements are taken
from Wikipedia's text as it stands in these sets (squad2, xquad: CC BY-SA 4.0; clapnq, tydiqa: Apache-2.0, passages CC BY-SA 3.0).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.verification_rows import LabelledSentence, Passage, evidence_of, passages_of, questions_of, span_of
from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.checking import check
from ckllm.citations.short_answer import is_short
from ckllm.citations.terms import content_keys
from ckllm.citations.verification import RuleVerifier
from ckllm.experts.base import BASE
from ckllm.experts.registry import SHIPPED
from ckllm.llm.base import BaseLLM, GenerationRequest
from ckllm.prompting.grounded import grounded_messages

WRITTEN, PASSAGE = "written by a model", "written by a model, supported by the whole passage only"
"""Kinds of rows."""
LABELLED = Path(__file__).with_suffix(".jsonl")
SETS = {"squad2": 1, "clapnq": 1, "xquad/en": 2, "xquad/de": 5, "xquad/es": 5}
"""Set → which share of the questions is asked about it."""
ASKED = {"explain": 20, BASE: 20, "qa": 5}
"""Questions put to each expert about each set, in each half of the articles; `qa` writes few statements."""
A_DRAFT = 2
"""Statements taken of one answer."""
LONGEST_PASSAGE = 800
"""Characters."""
LEAST_WORDS = 4
"""Content words of a sentence that says something."""
TEMPERATURE, MOST_TOKENS = 0.5, 64


def labelled(folder: Path) -> list[LabelledSentence]:
    """The labelled statements with the span of their passage that they are aligned with; the expert is in `source`."""
    read = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    passages: dict[str, dict[str, Passage]] = {name: passages_of(folder / name) for name in {row["set"] for row in read}}
    found = []
    for row in read:
        passage = passages[row["set"]][row["document"]]
        span = span_of(EvidenceIndex([evidence_of(passage)]), row["sentence"])
        kind = PASSAGE if row["label"] == "passage" else WRITTEN
        found.append(
            LabelledSentence(
                row["sentence"], span, row["label"] == "yes", kind, passage.lang, passage.article, passage.split, row["expert"]
            )
        )
    return found


def write(folder: Path, llm: BaseLLM) -> Iterator[dict[str, Any]]:
    """Statements as rows without a label; half by half, sets and experts in turn, so that it may be stopped."""
    for split in ("test", "train"):
        turns: deque[tuple[str, str, deque[tuple[Passage, dict[str, Any]]]]] = deque()
        for name, share in SETS.items():
            passages = {key: one for key, one in passages_of(folder / name).items() if len(one.text) < LONGEST_PASSAGE}
            asked = [(passages[key], one) for key, some in questions_of(folder / name).items() if key in passages for one in some]
            own = _alternating([(passage, question) for passage, question in asked if passage.split == split])
            turns += [(name, expert, deque(own[: most // share])) for expert, most in ASKED.items()]
        seen: set[tuple[str, tuple[str, ...]]] = set()
        while turns:
            name, expert, left = turns.popleft()
            if not left:
                continue
            passage, question = left.popleft()
            turns.append((name, expert, left))
            for sentence in _statements(llm, expert, passage, question["question"]):
                key = passage.id, tuple(content_keys(sentence))
                if key not in seen:
                    seen.add(key)
                    yield {
                        "sentence": sentence,
                        "set": name,
                        "document": passage.id,
                        "question": question["id"],
                        "expert": expert,
                    }


def _alternating(asked: list[tuple[Passage, dict[str, Any]]]) -> list[tuple[Passage, dict[str, Any]]]:
    """In an order by chance, answerable questions and others in turn while there are both; each passage at most once for each."""
    halves: dict[bool, dict[str, tuple[Passage, dict[str, Any]]]] = {True: {}, False: {}}
    for passage, question in sorted(asked, key=lambda pair: hashlib.sha256(pair[1]["id"].encode()).hexdigest()):
        halves[question["answerable"]].setdefault(passage.id, (passage, question))
    able, unable = (list(halves[kind].values()) for kind in (True, False))
    turns = [pair for both in zip(able, unable, strict=False) for pair in both]
    return turns + able[len(unable) :] + unable[len(able) :]


def _statements(llm: BaseLLM, expert: str, passage: Passage, question: str) -> list[str]:
    """Whole sentences of an answer that the product would verify, and that say something."""
    entry = evidence_of(passage)
    adapters = {} if expert == BASE else {str(SHIPPED / expert): 1.0}
    request = GenerationRequest(
        messages=grounded_messages(question.strip(), [entry.hit]), max_tokens=MOST_TOKENS, temperature=TEMPERATURE, seed=1,
        adapters=adapters,
    )  # fmt: skip
    with llm.generate_stream(request) as stream:
        draft = stream.text().strip()
    if is_short(draft):
        return []
    claims = check(draft, EvidenceIndex([entry]), RuleVerifier(1.0), passage.lang)
    texts = [claim.text for claim in claims][: -1 if stream.finish_reason == "length" else None]
    said = [text for text in texts if len(content_keys(text)) >= LEAST_WORDS and not text.endswith("?")]
    return random.Random(question).sample(said, min(A_DRAFT, len(said)))


def main() -> None:
    from ckllm.llm.openvino import OpenVinoLLM
    from ckllm.llm.table import BUNDLED, openvino_folder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    counts: dict[tuple[str, str], int] = defaultdict(int)
    with OpenVinoLLM(openvino_folder(args.models), model_id=BUNDLED, threads=args.threads) as llm, args.out.open("w") as out:
        for row in write(args.folder, llm):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            counts[row["set"], row["expert"]] += 1
    print(json.dumps({" ".join(key): count for key, count in counts.items()}, indent=1))


if __name__ == "__main__":
    main()

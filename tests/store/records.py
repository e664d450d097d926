"""Chunks to store, made from a seed: several languages, groups, pages, and names that try to break out of an expression."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from ckllm.contracts import Chunk, ElementKind, digest
from ckllm.embedding.base import Vectors
from ckllm.store.base import ChunkRecord

DIMENSION = 16
WORDS = {
    "en": ["river", "running", "stone", "bridge", "temple", "copper", "3.5", "1,000", "engine", "the", "of"],
    "es": ["río", "corriendo", "piedra", "puente", "montaña", "de", "la"],
    "hi": ["नदी", "पत्थर", "मंदिर", "ताँबा", "का", "है"],
    "zh": ["河流", "石头", "桥梁", "寺庙"],
    "ar": ["النهر", "الحجارة", "جسر", "معبد"],
    "": ["xylem", "quark"],
}
SOURCES = [
    "/docs/a.pdf",
    "/docs/q\"uote's\\.txt",
    "/docs/ünï/नदी.md",
    "/docs/line\nbreak\t%_.txt",
    '/x" or 1 == 1 or source == "',
]
GROUPS: Sequence[tuple[str, ...]] = [
    (),
    (),
    ("staff",),
    ("staff", "law"),
    ('" or audience == "',),
    ("%",),
    ("|",),
    ("büro \\ 法",),
]


def unit_vectors(count: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def records(count: int, seed: int) -> list[ChunkRecord]:
    """Four chunks a version; version ids `v0`, `v1`, …"""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        lang = draw.choice(list(WORDS))
        separator = "" if lang == "zh" else " "
        text = separator.join(draw.choices(WORDS[lang], k=draw.randint(3, 30)))
        document, version = f"d{number // 4}", f"v{number // 4}"
        page = draw.choice([None, 1, 2, 30])
        start = 100 * number
        chunk = Chunk(
            digest(document, version, str(number)), document, version, number % 4, start, start + len(text), text,
            "Title › section", page, draw.choice(["", "Intro", 'a "b" \\ c']), draw.choice(list(ElementKind)),
        )  # fmt: skip
        at = number // 4
        source = SOURCES[at % len(SOURCES)]
        made.append(ChunkRecord(chunk, source, f"T{at}", lang, GROUPS[at % len(GROUPS)], digest(version), 1.7e9 + number))
    return made

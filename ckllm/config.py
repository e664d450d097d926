"""Settings, and the only code that reads the environment and `ckllm.toml`.

Precedence: command line > environment (`CKLLM_SECTION__KEY`, e.g. `CKLLM_LLM__ENGINE=openvino`) > `ckllm.toml` > default.
`ckllm.toml` is `--config FILE`, else `CKLLM_CONFIG`, else the one in the home directory. An unknown key is an error that
names the nearest valid key.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from ckllm.errors import UsageError

ENV_PREFIX = "CKLLM_"
_PATH_VARIABLES = frozenset({"CKLLM_HOME", "CKLLM_CONFIG"})


def _sendable(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("holds characters that cannot be sent to a server: copy the key again")
    return secret


HeaderSecret: TypeAlias = Annotated[SecretStr, AfterValidator(_sendable)]
"""What is sent in a header, which carries printable ASCII."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class StoreSettings(_Section):
    uri: str = Field(
        "",
        description="Milvus: http(s)://host:port, or a folder for Milvus Lite; empty: milvus.db in the home directory",
    )
    token: SecretStr = Field(SecretStr(""), description="Milvus user:password or API key")
    catalogue: str = Field("", description="SQLAlchemy URL of the catalogue; empty: SQLite in the home directory")
    shards: int = Field(1, ge=1, le=64, description="of a new collection on a Milvus server: how many nodes share its writing")
    replicas: int = Field(1, ge=1, le=64, description="copies of a collection that a Milvus server's nodes keep in memory")
    lock_timeout_s: float = Field(30.0, ge=0, description="how long to wait for another process that has the embedded store open")


class EmbeddingSettings(_Section):
    model: str = Field(
        "multilingual-e5-small",
        description="multilingual-e5-small and all-MiniLM-L6-v2 are bundled; or any hub id or folder",
    )
    runtime: Literal["auto", "openvino", "sentence-transformers"] = Field("auto", description="what computes the bundled models")
    base_url: str = Field("", description="an OpenAI-compatible embedding server; empty: compute here")
    api_key: HeaderSecret = Field(SecretStr(""), description="key of that server")
    query_prefix: str | None = Field(None, description="text put before questions, where the model wants one and does not say so")
    passage_prefix: str | None = Field(None, description="text put before passages")
    max_tokens: int = Field(0, ge=0, description="the most tokens that a server's model takes for one text; 0: 512")
    tokenizer: str = Field("", description="tokenizer.json, or its folder, of a server's model; empty: tokens are estimated")
    threads: int = Field(0, ge=0, description="0: all cores")


class IngestSettings(_Section):
    max_file_mb: float = Field(100.0, gt=0, description="larger files are rejected")
    chunk_tokens: int = Field(256, ge=16, description="the most tokens in a chunk, in the embedder's own tokens")
    overlap_tokens: int = Field(32, ge=0, description="tokens that neighbouring chunks share")
    parse_timeout_s: float = Field(120.0, gt=0, description="one file")
    parse_memory_mb: int = Field(4096, ge=256, description="one file")
    workers: int = Field(0, ge=0, description="parser processes; 0: as many as cores, at most 4")
    allow_private_urls: bool = Field(False, description="fetch from loopback and private addresses")


class RetrievalSettings(_Section):
    k: int = Field(10, ge=1, le=1000, description="passages in a search")
    candidates: int = Field(50, ge=1, le=1000, description="passages that each search hands to the fusion")
    reader: Literal["auto", "on", "off"] = Field(
        "auto", description="read question and passages together to answer; auto: where the embedder is its model"
    )
    evidence: int = Field(6, ge=1, le=50, description="passages offered to the model")
    evidence_sentences: int = Field(
        3, ge=0, description="best sentences of them that the model reads, each with its neighbours; 0: whole passages"
    )
    evidence_tokens: int = Field(640, ge=64, description="the most tokens of evidence in a prompt")


class AnswerSettings(_Section):
    caution: Literal["strict", "balanced", "open"] = Field("balanced", description="how readily a question is refused")
    max_tokens: int = Field(64, ge=1, description="the most new tokens of an answer")
    temperature: float = Field(0.0, ge=0, le=2, description="0: the most likely token each time, so the same answer each time")
    seed: int = Field(0, description="makes sampling repeatable")


class LlmSettings(_Section):
    model: str = Field("smollm2-135m-instruct", description="bundled; or any hub id, folder or GGUF file")
    engine: Literal["auto", "openvino", "transformers", "openai", "scripted"] = Field(
        "auto", description="auto: the fastest that can run the model on this machine"
    )
    base_url: str = Field("", description="an OpenAI-compatible server (vLLM, llama.cpp, Ollama), for engine = openai")
    api_key: HeaderSecret = Field(SecretStr(""), description="key of that server")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, …")
    quantisation: Literal["none", "8bit", "4bit"] = Field("none", description="of the weights, by transformers on a GPU")
    profile: str = Field("", description="chat template profile; empty: the model's own")
    threads: int = Field(0, ge=0, description="0: all cores")
    timeout_s: float = Field(120.0, gt=0, description="how long to wait for a server")


class RoutingRule(_Section):
    pattern: str = Field(description="regular expression, looked for in the question, case ignored")
    expert: str


class RoutingSettings(_Section):
    strategy: Literal["auto", "head", "rule", "classifier", "base-only"] = Field(
        "auto", description="auto: the trained router where there is one, else rules where there are any, else routing.default"
    )
    model: str = Field(
        "", description="strategy classifier: folder of a transformers sequence classifier whose labels are experts"
    )
    threshold: float = Field(0.5, ge=0, le=1, description="strategy classifier: the least confidence at which an expert answers")
    default: str = Field("qa", description="the expert that answers while no router is trained; base where it is not installed")
    rules: tuple[RoutingRule, ...] = Field((), description="the first whose pattern is found decides")


class ServiceSettings(_Section):
    """`ckllm serve`."""

    host: str = Field("127.0.0.1", description="address to listen on; without API keys only a loopback address is accepted")
    port: int = Field(8000, ge=0, le=65535, description="0: any free one")
    request_limit_mb: float = Field(1.0, gt=0, description="the largest body of a request, uploads apart")
    upload_limit_mb: float = Field(200.0, gt=0, description="the largest body of an upload")
    body_timeout_s: float = Field(30.0, gt=0, description="the longest pause inside a request's body")
    connections: int = Field(1024, ge=1, description="open at once; more are answered 503")
    search_threads: int = Field(4, ge=1, le=256, description="searches at once")
    search_queue: int = Field(900, ge=0, description="searches that wait for their turn; more are answered 503")
    search_queue_per_user: int = Field(300, ge=0, description="of them, of one user; more are answered 429")
    generations: int = Field(4, ge=1, le=256, description="answers written at once")
    queue: int = Field(64, ge=0, description="questions that wait for their turn; more are answered 503")
    queue_per_user: int = Field(8, ge=0, description="of them, of one user; more are answered 429")
    queue_timeout_s: float = Field(
        120.0, gt=0, description="how long a question or search waits for its turn; then it is answered 503"
    )
    run_jobs: bool = Field(True, description="ingest uploads here; of several services that share a store, let one do it")
    requests_per_minute: int = Field(600, ge=0, description="of one API key; more are answered 429; 0: any number")
    allowed_hosts: tuple[str, ...] = Field((), description="names that the service is called by, besides this machine's")
    cors_origins: tuple[str, ...] = Field((), description="web pages' origins that may call the service; none by default")
    traces: str = Field("", description="OTLP/HTTP address that OpenTelemetry traces are sent to; empty: none are made")
    user_header: str = Field("", description="header in which a proxy that signs users in names the user; empty: not believed")
    trusted_proxies: tuple[str, ...] = Field(("127.0.0.1", "::1"), description="addresses that user_header is believed from")

    @field_validator("allowed_hosts", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """The environment gives a list as text with commas."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class ExpertSettings(_Section):
    """One `[[experts]]` table: an adapter folder, a whole model, or a name at a server."""

    name: str
    description: str = ""
    adapter: str = Field("", description="PEFT LoRA folder, on top of llm.model")
    model: str = Field("", description="a whole model: hub id or folder, or its name at llm.base_url")
    profile: str = Field("", description="chat template profile; empty: the model's own")
    system_prompt: str = ""
    quantisation: Literal["none", "8bit", "4bit"] = "none"
    languages: tuple[str, ...] = ()
    licence: str = ""
    revision: str = ""
    sha256: str = Field("", description="of adapter_model.safetensors; checked when it is loaded")


class Settings(_Section):
    """Everything that can be set. Stages receive values from here, never the object itself."""

    home: Path
    store: StoreSettings = StoreSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    ingest: IngestSettings = IngestSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
    llm: LlmSettings = LlmSettings()
    routing: RoutingSettings = RoutingSettings()
    service: ServiceSettings = ServiceSettings()
    experts: tuple[ExpertSettings, ...] = ()

    @property
    def models_folder(self) -> Path:
        """Converted models; can be deleted, and is made again."""
        return self.home / "models"

    @property
    def store_uri(self) -> str:
        return self.store.uri or str(self.home / "milvus.db")

    @property
    def catalogue_url(self) -> str:
        return self.store.catalogue or f"sqlite:///{self.home / 'catalogue.db'}"


def load_settings(
    home: Path | str | None = None,
    config: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings once. `overrides` are the command line's, as dotted keys (`{"llm.engine": "scripted"}`).

    Raises UsageError for an unknown key, a bad value, or a file that is not TOML.
    """
    env = os.environ if environment is None else environment
    folder = Path(home or env.get("CKLLM_HOME") or platformdirs.user_data_dir("ckllm", appauthor=False)).expanduser().absolute()
    file = Path(config or env.get("CKLLM_CONFIG") or folder / "ckllm.toml").expanduser()
    if config and not file.is_file():
        raise UsageError(f"no settings file at {file}: give the path of a ckllm.toml to --config")
    values: dict[str, Any] = {}
    for where, layer in (
        (str(file), _from_file(file)),
        ("the environment", _from_environment(env)),
        ("the command line", dict(overrides or {})),
    ):
        for key, value in layer.items():
            _put(values, key, value, where)
    try:
        return Settings(home=folder, **values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        shown = "…" if _is_secret(key) else repr(first.get("input"))
        raise UsageError(f"setting {key} = {shown}: {first['msg'].removeprefix('Value error, ').lower()}") from None


def known_keys() -> list[str]:
    """Every setting as `section.key`."""
    return [f"{section}.{key}" for section, model in _sections().items() for key in model.model_fields]


def _is_secret(key: str) -> bool:
    section, _, name = key.partition(".")
    kind = _sections().get(section)
    return kind is not None and name in kind.model_fields and kind.model_fields[name].annotation is SecretStr


def _sections() -> dict[str, type[BaseModel]]:
    found = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def _from_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"the settings file {file} cannot be read: {error.strerror}") from None
    flat: dict[str, Any] = {}
    for section, entry in content.items():
        if isinstance(entry, dict):
            flat |= {f"{section}.{key}": value for key, value in entry.items()}
        else:
            flat[section] = entry
    return flat


def _from_environment(env: Mapping[str, str]) -> dict[str, str]:
    names = [name for name in env if name.startswith(ENV_PREFIX) and name not in _PATH_VARIABLES]
    return {name[len(ENV_PREFIX) :].lower().replace("__", "."): env[name] for name in names}


def _put(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    if key == "experts":
        values[key] = value
        return
    if key not in known_keys():
        near = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.0)[0]
        raise UsageError(f"unknown setting {key!r} in {where}: did you mean {near!r}?")
    section, _, name = key.partition(".")
    values.setdefault(section, {})[name] = value

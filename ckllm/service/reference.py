"""`/docs`: the API described on one page, without scripts and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px ui-monospace,monospace}pre{background:#f4f4f4;padding:.7rem;overflow:auto}"
    "h3{margin:1.6rem 0 .2rem}h3 b{display:inline-block;width:5rem}"
)


def page(schema: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI description."""
    groups: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(path, method, operation, schema))
    body = "".join(f"<h2>{escape(tag.capitalize())}</h2>{''.join(parts)}" for tag, parts in groups.items())
    title = f"{escape(schema['info']['title'])} {escape(schema['info']['version'])}"
    intro = (
        "<p>Send <code>Authorization: Bearer KEY</code> where keys are in use. Errors are "
        '<code>{"error": {"type", "message", "param", "code"}}</code>. '
        'The same as data: <a href="/openapi.json">/openapi.json</a>.</p>'
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1>{intro}{body}</body></html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    told = operation.get("description") or operation.get("summary", "")
    parts = [f"<h3><b>{escape(method.upper())}</b> <code>{escape(path)}</code></h3><p>{escape(told)}</p>"]
    rows = [(one["name"], one.get("schema", {}), one.get("required", False)) for one in operation.get("parameters", ())]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = _resolved(content.get("schema", {}), schema)
        required = body.get("required", ())
        rows += [(name, field, name in required) for name, field in body.get("properties", {}).items()]
    if rows:
        parts.append(f"<ul>{''.join(_field(*row) for row in rows)}</ul>")
    return "".join(parts)


def _field(name: str, field: Mapping[str, Any], required: bool) -> str:
    kinds = [str(one.get("type", "object")) for one in field.get("anyOf", (field,))]
    default = f", default {escape(str(field['default']))}" if field.get("default") not in (None, "") else ""
    told = f": {escape(field['description'])}" if field.get("description") else ""
    need = ", required" if required else ""
    return f"<li><code>{escape(name)}</code> ({escape(' or '.join(kinds))}{need}{default}){told}</li>"


def _resolved(body: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(body.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = schema.get("components", {}).get("schemas", {}).get(name, body)
    return found

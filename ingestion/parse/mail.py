"""Mail (RFC 5322, MIME): headers, the body once, attachments as child documents. Also saved web pages (MHTML)."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.attachments import AttachmentWriter
from ingestion.parse.decode import decode
from ingestion.parse.html import add_html
from ingestion.parse.text import TextBuilder

_HEADERS = ("Subject", "From", "To", "Cc", "Date")
_ENCRYPTED = ("application/pkcs7-mime", "application/x-pkcs7-mime", "multipart/encrypted")
_BODY = ("text/plain", "text/html", "text/enriched")
_SKIPPED = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature", "text/x-amp-html"}
)
_SIGNED_DATA = "signed-data"


def parse(source: Source, media_type: str, folder: Path) -> Document:
    data = source.path.read_bytes()
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    if message.get_content_type() in _ENCRYPTED and message.get_param("smime-type") != _SIGNED_DATA:
        raise DataError("no text: the body can only be opened with the private key of whom it was sent to")
    builder = TextBuilder(media_type)
    subject = _header(message, "Subject")
    add_headers(builder, {name: _header(message, name) for name in _HEADERS})
    _add_body(builder, message)
    writer = AttachmentWriter(source, folder)
    for part in _attachments(message):
        writer.add(part.get_filename() or _name_of(part), _bytes_of(part), part.get_content_type())
    builder.attachments.extend(writer.sources)
    return builder.build(subject, source)


def add_headers(builder: TextBuilder, headers: dict[str, str]) -> None:
    """The subject as title, the other fields as one piece, each on its line."""
    builder.append(ElementKind.TITLE, headers.get("Subject", ""))
    lines = [f"{name}: {value}" for name, value in headers.items() if value and name != "Subject"]
    builder.append(ElementKind.PARAGRAPH, "\n".join(lines))


def _header(message: EmailMessage, name: str) -> str:
    try:
        value = message.get(name)
    except (ValueError, IndexError, AttributeError, TypeError, KeyError):  # the standard library's parser on broken headers
        value = next((text for key, text in message.raw_items() if key.lower() == name.lower()), "")
    return re.sub(r"\s+", " ", str(value or "")).strip()


def _add_body(builder: TextBuilder, message: EmailMessage) -> None:
    """Plain text where the mail has any (its HTML twin says the same), else HTML; every part of a mixed mail in order."""
    before = len(builder)
    plain: list[EmailMessage] = []
    pages: list[EmailMessage] = []
    for part in _body_parts(message):
        (pages if part.get_content_type() == "text/html" else plain).append(part)
    for part in plain:
        add_plain(builder, _text_of(part))
    words = sum(len(_text_of(part).split()) for part in plain)
    if pages and (len(builder) == before or words < 5):
        for part in pages:
            add_html(builder, _text_of(part))


def add_plain(builder: TextBuilder, text: str) -> None:
    """Paragraphs of a plain text body."""
    for paragraph in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        builder.append(ElementKind.PARAGRAPH, paragraph)


def _body_parts(message: EmailMessage) -> Iterator[EmailMessage]:
    for part in _walk(message):
        if part.get_content_type() in _BODY and not _is_attachment(part):
            yield part


def _attachments(message: EmailMessage) -> Iterator[EmailMessage]:
    for part in _walk(message):
        if part is message or part.get_content_type() in _SKIPPED:
            continue
        if _is_attachment(part) and not _is_inline_picture(part):
            yield part


def _walk(message: EmailMessage, depth: int = 0) -> Iterator[EmailMessage]:
    """Leaf parts; an attached message is a leaf."""
    if depth > 50 or not message.is_multipart() or (depth and message.get_content_type() == "message/rfc822"):
        yield message
        return
    for part in message.iter_parts():
        if isinstance(part, EmailMessage):
            yield from _walk(part, depth + 1)


def _is_attachment(part: EmailMessage) -> bool:
    content_type = part.get_content_type()
    if content_type.startswith("multipart/"):
        return False
    return content_type not in _BODY or part.get_content_disposition() == "attachment" or bool(part.get_filename())


def _is_inline_picture(part: EmailMessage) -> bool:
    return part.get_content_maintype() == "image" and (
        part.get("Content-ID") is not None or part.get_content_disposition() == "inline"
    )


def _name_of(part: EmailMessage) -> str:
    if part.get_content_type() == "message/rfc822":
        return "message.eml"
    return f"attachment.{part.get_content_subtype().split('+')[0][:10]}"


def _bytes_of(part: EmailMessage) -> bytes:
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        return b"".join(one.as_bytes() for one in inner if isinstance(one, EmailMessage)) if isinstance(inner, list) else b""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _text_of(part: EmailMessage) -> str:
    return decode(_bytes_of(part), part.get_content_charset() or "")[0]

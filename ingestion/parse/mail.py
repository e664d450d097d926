"""Mail (RFC 5322, MIME): headers, the body once, attachments as child documents. Also saved web pages (MHTML)."""

from __future__ import annotations

import codecs
import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.attachments import AttachmentWriter
from ingestion.parse.decode import decode, wide_encoding
from ingestion.parse.html import add_html
from ingestion.parse.text import TextBuilder

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_HEADERS = ("Subject", "From", "To", "Cc", "Date")
_ENCRYPTED = ("application/pkcs7-mime", "application/x-pkcs7-mime", "multipart/encrypted")
_BODY = ("text/plain", "text/html", "text/enriched")
_SKIPPED = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature", "text/x-amp-html"}
)
_SIGNED_DATA = "signed-data"
_PGP = re.compile(r"-----BEGIN PGP MESSAGE-----.*?(?:-----END PGP MESSAGE-----|\Z)", re.S)
SEALED = "the body can only be opened with the private key of whom it was sent to: save its text from their mail program"
_MAX_DEPTH = 50
_FEW_WORDS = 5
_TWIN = 0.8
"""Share of a page's words that a plain text must have to say the same."""


def parse(source: Source, media_type: str, folder: Path) -> Document:
    data = source.path.read_bytes()
    if data.startswith(_MARKS) or wide_encoding(data):
        data = decode(data)[0].encode()
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    if _is_encrypted(message):
        raise DataError(f"no text: {SEALED}")
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
    """Every part of the body in its order; of alternatives the plain text, or the page where that says hardly anything.

    Raises DataError where all of it is encrypted.
    """
    parts = list(_body_parts(message))
    plain = " ".join(_text_of(part) for part in parts if part.get_content_type() != "text/html")
    before = len(builder)
    for part in parts:
        text = _text_of(part)
        if part.get_content_type() == "text/html":
            if not _says_the_same(text, plain):
                add_html(builder, text)
        else:
            add_plain(builder, _PGP.sub("", text))
    if not parts and message.get_content_maintype() == "multipart" and not message.is_multipart():
        add_plain(builder, _text_of(message))  # it announces parts, but not what is between them
    if _PGP.search(plain):
        if len(builder) == before:
            raise DataError(f"no text: {SEALED}")
        builder.warn("an encrypted part was left out")


def _says_the_same(page: str, plain: str) -> bool:
    """Whether nearly all words of a page are in the plain text beside it."""
    told = set(plain.split())
    if len(told) < _FEW_WORDS:
        return False
    seen = TextBuilder()
    add_html(seen, page)
    words = set(seen.text.split())
    return len(words & told) >= _TWIN * len(words)


def add_plain(builder: TextBuilder, text: str) -> None:
    """Paragraphs of a plain text body."""
    for paragraph in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        builder.append(ElementKind.PARAGRAPH, paragraph)


def _body_parts(message: EmailMessage, depth: int = 0) -> Iterator[EmailMessage]:
    if depth > _MAX_DEPTH or not message.is_multipart():
        if message.get_content_type() in _BODY and not _is_attachment(message):
            yield message
        return
    if depth and message.get_content_type() == "message/rfc822":
        return
    inner = [part for part in message.iter_parts() if isinstance(part, EmailMessage)]
    found = [one for part in inner for one in _body_parts(part, depth + 1)]
    if message.get_content_type() == "multipart/alternative":
        plain = [one for one in found if one.get_content_type() != "text/html"]
        if sum(len(_text_of(one).split()) for one in plain) >= _FEW_WORDS:
            found = plain
    yield from found


def _attachments(message: EmailMessage) -> Iterator[EmailMessage]:
    for part in _walk(message):
        if part.get_content_type() in _SKIPPED or _is_encrypted(part):
            continue
        if _is_attachment(part) and not _is_shown_inline(part):
            yield part


def _walk(message: EmailMessage, depth: int = 0) -> Iterator[EmailMessage]:
    """Leaf parts; an attached message is a leaf."""
    if depth > _MAX_DEPTH or not message.is_multipart() or (depth and message.get_content_type() == "message/rfc822"):
        yield message
        return
    for part in message.iter_parts():
        if isinstance(part, EmailMessage):
            yield from _walk(part, depth + 1)


def _is_encrypted(part: EmailMessage) -> bool:
    return part.get_content_type() in _ENCRYPTED and part.get_param("smime-type") != _SIGNED_DATA


def _is_attachment(part: EmailMessage) -> bool:
    content_type = part.get_content_type()
    if content_type.startswith("multipart/"):
        return False
    return content_type not in _BODY or part.get_content_disposition() == "attachment" or bool(part.get_filename())


def _is_shown_inline(part: EmailMessage) -> bool:
    """A picture of the body, or what a saved page is made of besides its text."""
    if part.get_content_disposition() == "attachment":
        return part.get_content_maintype() == "image" and part.get("Content-ID") is not None
    if part.get("Content-Location") is not None:
        return True
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

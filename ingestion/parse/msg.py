"""Outlook messages (MSG) through python-oxmsg: headers, body, attachments as child documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ckllm.contracts import Document, Source
from ckllm.errors import DataError
from ingestion.parse.attachments import AttachmentWriter
from ingestion.parse.html import add_html
from ingestion.parse.mail import SEALED, add_headers, add_plain
from ingestion.parse.text import TextBuilder

_ENCRYPTED = ("IPM.Note.SMIME", "IPM.Note.rpmsg")
_SIGNED = "MultipartSigned"


def parse(source: Source, media_type: str, folder: Path) -> Document:
    import oxmsg

    try:
        message = oxmsg.Message.load(str(source.path))
        kind = str(message.message_class or "")
    except (ValueError, KeyError, IndexError, OSError, AttributeError) as error:
        raise DataError(f"broken message: {error}") from error
    if kind.startswith(_ENCRYPTED) and _SIGNED not in kind:
        raise DataError(f"no text: {SEALED}")
    builder = TextBuilder(media_type)
    subject = str(message.subject or "")
    add_headers(builder, _headers(message, subject))
    before = len(builder)
    add_plain(builder, message.body or "")
    if len(builder) == before and message.html_body:
        add_html(builder, message.html_body)
    writer = AttachmentWriter(source, folder)
    for attachment in message.attachments:
        if attachment.attached_by_value:
            writer.add(attachment.file_name or "attachment", attachment.file_bytes or b"", attachment.mime_type or "")
    builder.attachments.extend(writer.sources)
    return builder.build(subject, source)


def _headers(message: Any, subject: str) -> dict[str, str]:
    to = "; ".join(
        f"{one.name} <{one.email_address}>" if one.name != one.email_address else one.name for one in message.recipients
    )
    date = message.sent_date
    return {
        "Subject": subject,
        "From": str(message.sender or ""),
        "To": to,
        "Date": date.isoformat(" ", "minutes") if date else "",
    }

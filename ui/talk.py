"""Asking, asking again, and conversations that the service keeps."""

from __future__ import annotations

from ckllm.client import AskFields, UnavailableError
from ckllm.errors import CkllmError
from ui.pending import Pending
from ui.session import ROUTED, State, Turn

_WITHHELD = "This answer rests on a document that you may no longer see."


def ask(now: State, question: str, model: str = ROUTED) -> None:
    """Start an answer; it is written by a thread, whatever the page does meanwhile."""
    turn = Turn(question, model)
    now.turns.append(turn)
    try:
        if not now.conversation:
            now.conversation = now.client.create_conversation(collection=now.collection).id
    except CkllmError as error:
        turn.trouble = _told(error)
        return
    fields: AskFields = {"model": model, "collection": now.collection, "conversation": now.conversation}
    client = now.client
    turn.pending = Pending(lambda: client.stream(question, **fields))


def again(now: State, turn: Turn, question: str, model: str) -> None:
    """Answer a turn anew, in its place; what came after it rests on the old answer and goes."""
    place = now.turns.index(turn)
    if now.conversation:  # first: where the service does not do it, everything stays as it is
        now.client.shorten_conversation(now.conversation, sum(kept.stored for kept in now.turns[:place]))
    for later in now.turns[place:]:
        if later.pending is not None:
            later.pending.stop()
    now.turns = now.turns[:place]
    if now.opened is not None and now.opened.turn not in {kept.key for kept in now.turns}:
        now.opened = None
    ask(now, question, model)


def resume(now: State, conversation_id: str) -> None:
    """Show a conversation that the service has kept."""
    found = now.client.conversation(conversation_id)
    now.start()
    now.conversation, now.collection = found.id, found.collection
    now.turns = [
        Turn(turn.question, answer=turn.answer, trouble="" if turn.answer else _WITHHELD, stored=True) for turn in found.turns
    ]


def _told(error: CkllmError) -> str:
    away = isinstance(error, UnavailableError) and error.status == 0
    return "The service did not answer. Ask again when it is back." if away else str(error)

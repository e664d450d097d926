"""Stop strings in a stream of text: found wherever the token borders fall, and never shown."""

from __future__ import annotations


class StopFilter:
    """Passes text on as soon as it can no longer be the beginning of a stop string.

    `found` is the stop string that ended the text, "" so far. With several, the one that begins first wins.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = ""

    def feed(self, text: str) -> str:
        """The part of what was fed so far that may be shown now; "" after a stop string was found."""
        if self.found:
            return ""
        if not self._stops:
            return text
        self._held += text
        places = [(place, stop) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            place, self.found = min(places)
            shown, self._held = self._held[:place], ""
            return shown
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0

"""What a reader of a page does not see, or sees as the site's furniture: scripts, hidden text, navigation."""

from __future__ import annotations

import re
from typing import Any

_NO_CONTENT = frozenset(
    [
        "head",
        "script",
        "style",
        "noscript",
        "template",
        "iframe",
        "object",
        "embed",
        "canvas",
        "audio",
        "video",
        "svg",
        "select",
        "textarea",
        "input",
        "button",
        "datalist",
        "applet",
        "frame",
        "noframes",
        "map",
        "rt",
        "rp",
        "rtc",
        "annotation",
        "annotation-xml",
    ]
)
_NAVIGATION_ROLES = frozenset({"navigation", "menubar", "search"})
_FURNITURE = re.compile(
    r"(?:^|[\s_-])(nav|navbar|navbox|navigation|menu|breadcrumbs?|sidebar|toc|pager|pagination|cookies?|share|social|skip|footer|header|"
    r"topbar|related|links|lang|languages|interlanguage)(?:$|[\s_-])",
    re.I,
)
_MAY_BE_FURNITURE = frozenset({"div", "ul", "ol", "section", "aside", "header", "footer", "table", "form", "menu", "p", "li"})
_LINK_SHARE = 0.6
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?:\.0+)?(?:px|pt|em|rem|%)?\s*(?:;|!|$)|"
    r"opacity\s*:\s*0(?:\.0+)?\s*(?:;|!|$)|(?:left|top|text-indent)\s*:\s*-\d{4,}(?:px|em|pt)|mso-hide\s*:\s*all",
    re.I,
)
_COLOUR = re.compile(r"(?:^|[;\s])color\s*:\s*([^;!]+)", re.I)
_BACKGROUND = re.compile(r"background(?:-color)?\s*:\s*([^;!]+)", re.I)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SIMPLE_SELECTOR = re.compile(r"^(?:[a-z0-9]*)([.#])([\w-]+)$", re.I)
_WHITE = frozenset({"white", "#fff", "#ffffff", "#fffffe", "#fefefe", "rgb(255,255,255)", "rgba(255,255,255,1)"})


class Visibility:
    """Decides element by element; notes what was hidden."""

    def __init__(self, root: Any, keep_navigation: bool = False) -> None:
        self.warnings: list[str] = []
        self._keep_navigation = keep_navigation
        self._styled = bool(root.xpath("//style | //link[@rel='stylesheet']"))
        self._hidden_classes, self._hidden_ids = _hidden_by_rules(root)

    def leaves_out(self, element: Any) -> bool:
        """True where the element and all in it are not content."""
        tag = element.tag
        if tag in _NO_CONTENT:
            return True
        if self._hidden(element):
            if "".join(element.itertext()).strip():
                self._note("hidden text (invisible to a reader) was left out")
            return True
        return not self._keep_navigation and self._is_navigation(element)

    def comment(self, comment: Any) -> None:
        """Note a comment that reads like text."""
        text = comment.text or ""
        if len(text.split()) >= 3 and "[if" not in text and "<" not in text:
            self._note("HTML comments, which a reader does not see, were left out")

    def _note(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _hidden(self, element: Any) -> bool:
        attributes = element.attrib
        if not attributes:
            return False
        if "hidden" in attributes and attributes["hidden"] != "until-found":
            return True
        style = attributes.get("style", "")
        if style and (_HIDDEN.search(style) or self._same_colours(element, style)):
            return True
        if element.tag == "font" and attributes.get("color", "").strip().lower() in _WHITE and not self._on_background(element):
            return True
        if self._hidden_ids and attributes.get("id") in self._hidden_ids:
            return True
        return bool(self._hidden_classes) and not self._hidden_classes.isdisjoint(attributes.get("class", "").split())

    def _same_colours(self, element: Any, style: str) -> bool:
        """Text in the colour of what it stands on, as far as the page says so itself."""
        colour = _COLOUR.search(style)
        if not colour:
            return False
        text = _normal(colour[1])
        background = _BACKGROUND.search(style)
        if background:
            return text == _normal(background[1].split(" url")[0])
        if text in ("transparent", "rgba(0,0,0,0)"):
            return True
        return text in _WHITE and not self._on_background(element)

    def _on_background(self, element: Any) -> bool:
        """True where white text may well stand on a colour: an ancestor sets one, or a style sheet may."""
        if self._styled:
            return True
        return any(
            "background" in up.get("style", "") or up.get("bgcolor") or up.get("background")
            for up in (element, *element.iterancestors())
        )

    def _is_navigation(self, element: Any) -> bool:
        tag = element.tag
        if tag == "nav" or element.get("role") in _NAVIGATION_ROLES:
            return True
        if tag not in _MAY_BE_FURNITURE:
            return False
        if (
            tag not in ("header", "footer", "aside")
            and element.get("role") != "menu"
            and not _FURNITURE.search(f"{element.get('class', '')} {element.get('id', '')}")
        ):
            return False
        if tag == "header" and any(element.find(f".//{heading}") is not None for heading in ("h1", "h2")):
            return False  # an article's own title often links to itself
        whole = len("".join(element.itertext()).split())
        linked = sum(len("".join(link.itertext()).split()) for link in element.iter("a"))
        return whole > 0 and linked >= _LINK_SHARE * whole


def _normal(colour: str) -> str:
    text = re.sub(r"\s+", "", colour.strip().lower())
    return "#fff" if text in _WHITE else text


def _hidden_by_rules(root: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Classes and ids that the page's own style sheets hide, outside of media queries."""
    classes: set[str] = set()
    ids: set[str] = set()
    for style in root.iter("style"):
        text = re.sub(r"/\*.*?\*/", "", style.text or "", flags=re.S)
        text = re.sub(r"@[^{};]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", text)
        for selectors, rules in _RULE.findall(text):
            if re.search(r"display\s*:\s*none|visibility\s*:\s*hidden", rules, re.I):
                for selector in selectors.split(","):
                    if found := _SIMPLE_SELECTOR.match(selector.strip()):
                        (classes if found[1] == "." else ids).add(found[2])
    return frozenset(classes), frozenset(ids)

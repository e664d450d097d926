"""Text formats and mark-up: HTML, Markdown, AsciiDoc, delimited text, JSON, notebooks, XML, subtitles, source code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckllm.contracts import ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.delimited import find_delimiter
from ingestion.parse.html import add_html
from ingestion.parse.markdown import parse_text
from ingestion.parse.text import TextBuilder
from tests.ingestion.parse.reading import check, read, texts, write

SOURCE = Source("/a/page.html", Path("/a/page.html"), 1, "")

PAGE = """<!DOCTYPE html><html lang="en"><head><title>Tide tables</title><style>.gone{display:none} p{color:black}</style>
<script>var secret = "script words";</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>
<div class="breadcrumb-nav"><a href="/x">Coast</a> <a href="/y">Harbours</a></div>
<main><h1>Tides of the bay</h1><p>High water comes <b>twice</b> a day.<br>Low water too.</p>
<p style="display: none">invisible instruction</p><p class="gone">class hidden</p><p hidden>attribute hidden</p>
<p style="color:#fff;background:#ffffff">white on white</p><!-- a comment that reads like text -->
<ol start="3"><li>Check the moon</li><li>Read the table<ul><li>by hour</li></ul></li></ol>
<dl><dt>Spring tide</dt><dd>The highest</dd></dl>
<table><caption>Heights</caption><thead><tr><th>Port</th><th>Metres</th></tr></thead>
<tr><td rowspan="2">Brest</td><td>6.1</td></tr><tr><td>5.9</td></tr></table>
<pre>  raw
    text</pre><p>Unclosed paragraph<p>Another &amp; last &eacute;</main>
<footer><a href="/imprint">Imprint</a> <a href="/privacy">Privacy</a></footer></body></html>"""


def test_html_keeps_what_a_reader_reads(tmp_path: Path) -> None:
    document = read(write(tmp_path, "tides.html", PAGE))
    assert document.title == "Tide tables"
    assert document.lang == "en"
    assert texts(document, ElementKind.HEADING) == ["Tides of the bay"]
    assert "High water comes twice a day.\nLow water too." in document.text
    assert texts(document, ElementKind.LIST_ITEM) == [
        "3. Check the moon",
        "4. Read the table",
        "by hour",
        "Spring tide",
        "The highest",
    ]
    assert texts(document, ElementKind.TABLE) == ["Port | Metres\nBrest | 6.1\nBrest | 5.9"]
    assert texts(document, ElementKind.CAPTION) == ["Heights"]
    assert texts(document, ElementKind.CODE) == ["  raw\n    text"]
    assert texts(document, ElementKind.PARAGRAPH)[-2:] == ["Unclosed paragraph", "Another & last é"]


@pytest.mark.parametrize(
    "gone",
    [
        "script words",
        "About us",
        "Harbours",
        "Imprint",
        "invisible",
        "class hidden",
        "attribute hidden",
        "white on white",
        "reads like text",
    ],
)
def test_html_leaves_out_what_nobody_reads(tmp_path: Path, gone: str) -> None:
    document = read(write(tmp_path, "tides.html", PAGE))
    assert gone not in document.text
    assert any("hidden text" in warning for warning in document.warnings)
    assert any("comments" in warning for warning in document.warnings)


@pytest.mark.parametrize(
    "hidden",
    [
        "<caption hidden>unseen words</caption>",
        "<caption>Tides<i style='display:none'>unseen words</i></caption>",
        "<caption>Tides<script>unseen words</script></caption>",
        "<tbody style='display:none'><tr><td>unseen</td><td>words</td></tr></tbody>",
        "<tr><td>Brest<b hidden><!-- -->unseen words</b></td><td>6</td></tr>",
    ],
)
def test_what_nobody_sees_of_a_table_is_left_out(tmp_path: Path, hidden: str) -> None:
    rows = "<tr><th>Port</th><th>Tide</th></tr><tr><td>Ostend</td><td>4</td></tr>"
    document = read(write(tmp_path, "t.html", f"<html><body><table>{hidden}{rows}</table></body></html>"))
    assert "unseen" not in document.text
    assert "Ostend | 4" in document.text


def test_comments_in_a_cell_move_and_part_no_words(tmp_path: Path) -> None:
    rows = "<tr><th>Port</th><th>Tide</th></tr><tr><td>Ostend</td><td>4<!-- -->.5<!-- --> <b>m</b> high</td></tr>"
    document = read(write(tmp_path, "t.html", f"<html><body><table>{rows}</table></body></html>"))
    assert document.text == "Port | Tide\nOstend | 4.5 m high"


def test_white_text_on_a_coloured_ground_is_read(tmp_path: Path) -> None:
    page = '<body><div style="background:#003"><p style="color:white">Welcome aboard the ferry</p></div><p>More text.</p></body>'
    assert "Welcome aboard" in read(write(tmp_path, "a.html", f"<html>{page}</html>")).text


def test_a_page_of_nothing_but_navigation_is_kept(tmp_path: Path) -> None:
    page = "<html><body><nav><a href='/a'>Tides</a><a href='/b'>Harbours</a></nav></body></html>"
    assert "Harbours" in read(write(tmp_path, "a.html", page)).text


def test_layout_tables_are_no_tables(tmp_path: Path) -> None:
    page = (
        "<html><body><table><tr><td><h2>Left</h2><table><tr><td>a</td>"
        "<td>b</td></tr></table></td><td>Right</td></tr></table></body></html>"
    )
    document = read(write(tmp_path, "a.html", page))
    assert texts(document, ElementKind.HEADING) == ["Left"]
    assert texts(document, ElementKind.TABLE) == ["a | b"]


def test_html_in_its_declared_encoding(tmp_path: Path) -> None:
    page = '<html><head><meta charset="windows-1251"></head><body><p>Прилив в бухте</p></body></html>'
    assert read(write(tmp_path, "a.html", page.encode("cp1251"))).text == "Прилив в бухте"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.sampled_from(["<p>", "</p>", "<div>", "<table>", "<tr>", "<td rowspan=3>", "</table>", "<li>",
                         "<ol>", "<!--", "-->", "<br>", "<pre>",
                         "<h2>", "</h2>", "word ", "&amp;", "<td colspan='x'>", "\n  ", "<script>", "</script>", "<dl><dd>", "é"])
    )
)  # fmt: skip
def test_any_soup_of_tags_keeps_the_promises(pieces: list[str]) -> None:
    builder = TextBuilder()
    add_html(builder, f"<html><body>start {''.join(pieces)}")
    if not builder.empty:
        check(builder.build("", SOURCE))


MARKDOWN = """---
title: "Tide notes"
---
# Tides

High *water* comes
twice a day.

<!-- a hidden remark for machines -->

- first item
- second item

| Port | Metres |
|---|---|
| Brest | 6.1 |
| Dover | 5.2 |

```python
# not a heading
```

Setext
------

Last words.
"""


def test_markdown_is_its_own_text(tmp_path: Path) -> None:
    document = read(write(tmp_path, "tides.md", MARKDOWN))
    assert document.title == "Tide notes"
    assert document.text == MARKDOWN.replace("<!-- a hidden remark for machines -->", "")
    assert [(one.kind.value, one.level) for one in document.elements] == [
        ("heading", 1), ("paragraph", 0), ("list_item", 0), ("list_item", 0), ("table", 0),
        ("code", 0), ("heading", 2), ("paragraph", 0),
    ]  # fmt: skip
    (table,) = [one for one in document.elements if one.kind is ElementKind.TABLE]
    assert table.header == "| Port | Metres |\n|---|---|"
    assert document.text[table.rows[2] :].startswith("| Brest")
    assert any("comments" in warning for warning in document.warnings)


MARKDOWN_LINES = [
    "# h\n", "text\n", "\n", "- i\n", "  - n\n", "> q\n", "```\n",
    "| a | b |\n", "|---|---|\n", "    c\n", "1. x\n", "===\n", "---\n",
    "[a]: b\n", "<div>\n", "é\r\n",
]  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(MARKDOWN_LINES)))
def test_any_markdown_keeps_the_promises_and_loses_no_line(pieces: list[str]) -> None:
    text = "start\n\n" + "".join(pieces)
    document = parse_text(text, SOURCE, "text/markdown")
    check(document)
    covered = {place for one in document.elements for place in range(one.start, one.end)}
    lost = "".join(character for place, character in enumerate(document.text) if place not in covered)
    assert not any(character.isalnum() for character in lost)


def test_asciidoc_headings_tables_and_listings(tmp_path: Path) -> None:
    text = (
        "= Tides\n\nA paragraph.\n\n== Ports\n\n* Brest\n* Dover\n\n.Heights\n"
        "|===\n|Port |Metres\n|Brest |6.1\n|===\n\n----\ncode here\n----\n"
    )
    document = read(write(tmp_path, "tides.adoc", text))
    assert document.text == text
    assert [(one.kind.value, one.level) for one in document.elements] == [
        ("heading", 1), ("paragraph", 0), ("heading", 2), ("list_item", 0), ("list_item", 0),
        ("caption", 0), ("table", 0), ("code", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ":"])
def test_delimited_text_with_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    rows = [["name", "remark"], ["Brest", f'"deep{delimiter} and wide"'], ["Dover", '"two\nlines"'], ["Cowes", "small"]]
    document = read(write(tmp_path, "ports.csv", "\r\n".join(delimiter.join(row) for row in rows)))
    assert document.text.split("\n") == [
        "name | remark",
        f"Brest | deep{delimiter.strip()} and wide",
        "Dover | two lines",
        "Cowes | small",
    ]
    assert document.elements[0].header == "name | remark"


def test_one_column_is_not_cut() -> None:
    assert find_delimiter("Industry\nFishing\nShip building\n", ",") == ","


def test_json_is_made_readable(tmp_path: Path) -> None:
    ports = [{"name": "Brest", "depth": 6.1, "open": True}, {"name": "Dover", "tags": ["ferry", "chalk"]}]
    data = {"title": "Ports", "ports": ports, "none": None}
    document = read(write(tmp_path, "ports.json", json.dumps(data)))
    assert document.title == "Ports"
    for line in ("name: Brest", "depth: 6.1", "open: true", "ferry, chalk"):
        assert line in document.text
    lines = "\n".join(json.dumps(one) for one in ports)
    document = read(write(tmp_path, "ports.jsonl", f"{lines}\nnot json\n"))
    assert len(document.elements) == 2
    assert document.warnings == ("1 lines are not JSON and were left out",)
    with pytest.raises(DataError, match="broken JSON"):
        read(write(tmp_path, "broken.json", '{"a": '))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_json_end_where_json_says(tmp_path: Path, end: str) -> None:
    rows = ['{"name": "Brest", "note": "one\u2028two"}', '{"name": "Dover", "note": "three\u0085four"}']
    document = read(write(tmp_path, "ports.jsonl", end.join(rows)))
    assert (len(document.elements), document.warnings) == (2, ())
    assert "name: Dover" in document.text


def test_notebooks(tmp_path: Path) -> None:
    notebook = {
        "nbformat": 4,
        "cells": [
            {"cell_type": "markdown", "source": ["# Tides\n", "\n", "High water."]},
            {
                "cell_type": "code",
                "source": "print('hi')",
                "outputs": [{"output_type": "stream", "text": ["hi\n"]}, {"data": {"image/png": "iVBOR"}}],
            },
        ],
    }
    document = read(write(tmp_path, "tides.ipynb", json.dumps(notebook)))
    assert document.title == "Tides"
    assert texts(document, ElementKind.CODE) == ["print('hi')", "hi"]
    assert "iVBOR" not in document.text


def test_xml_articles_and_records(tmp_path: Path) -> None:
    article = """<?xml version="1.0"?><!DOCTYPE article PUBLIC "-//X" "x.dtd"><article>
    <front><article-title>On <i>tides</i></article-title></front>
    <body><sec><title>Ports</title><p>Brest is <b>deep</b> &ndash; very.</p>
    <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
    </sec></body></article>"""
    document = read(write(tmp_path, "article.xml", article))
    assert document.title == "On tides"
    assert texts(document, ElementKind.HEADING) == ["On tides", "Ports"]
    assert "Brest is deep – very." in document.text
    assert texts(document, ElementKind.TABLE) == ["a | b\n1 | 2"]
    records = "<ports><port><name>Brest</name><depth>6.1</depth></port><port><name>Dover</name><depth>5.2</depth></port></ports>"
    document = read(write(tmp_path, "ports.xml", f"<?xml version='1.0'?>{records}"))
    assert texts(document, ElementKind.PARAGRAPH) == ["name: Brest\ndepth: 6.1", "name: Dover\ndepth: 5.2"]


def test_subtitles(tmp_path: Path) -> None:
    cues = (
        "WEBVTT - Harbour talk\n\nNOTE a remark\n\n1\n00:01.000 --> 00:02.000 align:left\n"
        "<v Ada>Hello <i>there</i>\n\n00:02.000 --> 00:03.000\n<v Bob>Hi &amp; welcome\n"
    )
    document = read(write(tmp_path, "talk.vtt", cues))
    assert document.title == "Harbour talk"
    assert document.text == "Ada: Hello there\nBob: Hi & welcome"


def test_source_code_is_cut_at_definitions(tmp_path: Path) -> None:
    code = 'import os\n\n\n# adds\n@cache\ndef add(a, b):\n    return a + b\n\n\nclass Port:\n    """Deep."""\n'
    document = read(write(tmp_path, "ports.py", code))
    assert document.text == code
    assert [text.split("\n")[0] for text in texts(document, ElementKind.CODE)] == ["import os", "# adds", "class Port:"]
    c = "#include <x.h>\n\nint add(int a, int b)\n{\n  return a + b;\n}\n\nstatic void run(void) {\n}\n"
    document = read(write(tmp_path, "add.c", c))
    assert [text.split("\n")[0] for text in texts(document, ElementKind.CODE)] == [
        "#include <x.h>",
        "int add(int a, int b)",
        "static void run(void) {",
    ]


def test_plain_text_keeps_its_offsets_and_finds_lists(tmp_path: Path) -> None:
    text = "One paragraph\nof two lines.\n\n- an item\n\nAnother."
    document = read(write(tmp_path, "a.txt", text))
    assert document.text == text
    assert [one.kind for one in document.elements] == [ElementKind.PARAGRAPH, ElementKind.LIST_ITEM, ElementKind.PARAGRAPH]


def test_white_space_alone_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text"):
        read(write(tmp_path, "a.txt", " \n\t\n"))


def test_pages_inside_feeds_are_read_as_pages(tmp_path: Path) -> None:
    feed = (
        "<?xml version='1.0'?><rss><channel><title>Harbour news</title><item><title>Tides</title>"
        "<description><![CDATA[<p>High <b>water</b></p><script>x()</script>]]></description></item></channel></rss>"
    )
    document = read(write(tmp_path, "feed.xml", feed))
    assert document.text.split("\n\n") == ["Harbour news", "Tides", "High water"]


FILLER = "<p>" + "The keeper of the lock writes down every ship that comes in. " * 10 + "</p>"


def test_html_readings_above_words_do_not_part_them(tmp_path: Path) -> None:
    page = f"<html><body><p><ruby>港<rp>(</rp><rt>みなと</rt><rp>)</rp></ruby>町で</p>{FILLER}</body></html>"
    assert read(write(tmp_path, "port.html", page)).text.startswith("港町で")


def test_a_title_that_links_to_itself_is_content(tmp_path: Path) -> None:
    page = f"<html><body><header><h1><a href='/p'>How the lock works</a></h1></header>{FILLER}</body></html>"
    assert texts(read(write(tmp_path, "post.html", page)), ElementKind.HEADING) == ["How the lock works"]


def test_a_page_of_frames_has_what_it_says_without_them(tmp_path: Path) -> None:
    page = "<html><frameset><frame src='a.html'><noframes><body><p>Words without frames</p></body></noframes></frameset></html>"
    assert read(write(tmp_path, "frames.html", page)).text == "Words without frames"


def test_pictures_written_out_are_no_text(tmp_path: Path) -> None:
    picture = "data:image/png;base64," + "iVBORw0KGgo" * 100_000
    document = read(write(tmp_path, "reef.md", f"# Reef\n\n![A coral]({picture})\n\nAfter it.\n"))
    assert document.text == "# Reef\n\n![A coral]()\n\nAfter it.\n"
    assert read(write(tmp_path, "reef.json", json.dumps({"name": "Reef", "image": picture[:60]}))).text == "name: Reef"


def test_asciidoc_says_what_its_reader_sees(tmp_path: Path) -> None:
    text = (
        "= Manual\n:device: Tide Pump\n\nThe {device} lifts {unknown}.\n\n// editor's remark\n////\na hidden block\n////\n"
        "----\n// code of {device}\n----\n\n////\nnever closed\n"
    )
    document = read(write(tmp_path, "pump.adoc", text))
    assert "The Tide Pump lifts {unknown}." in document.text
    assert "remark" not in document.text and "hidden" not in document.text
    assert texts(document, ElementKind.CODE) == ["// code of {device}"]
    assert "never closed" in document.text
    assert document.warnings == ("comments, which a reader does not see, were left out",)


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    rows = 'part,size\nelbow,"3 inch\nflange,4 inch\n"tee, long","two\nlines"\n'
    document = read(write(tmp_path, "parts.csv", rows.replace('elbow,"3', "elbow,3") + 'valve,"5 inch\nlast,6 inch\n'))
    assert document.text.split("\n")[1:] == [
        "elbow | 3 inch",
        "flange | 4 inch",
        "tee, long | two lines",
        'valve | "5 inch',
        "last | 6 inch",
    ]


def test_numbers_of_json_keep_their_digits(tmp_path: Path) -> None:
    numbers = ["1.10", "6.62607015e-34", "1e400", "9" * 5000, "3.14159265358979323846264"]
    data = "{" + ", ".join(f'"n{place}": {number}' for place, number in enumerate(numbers)) + "}"
    document = read(write(tmp_path, "numbers.json", data))
    assert document.text.split("\n")[0:3] == ["n0: 1.10", "n1: 6.62607015e-34", "n2: 1e400"]
    assert document.text.endswith("n4: 3.14159265358979323846264")


@pytest.mark.parametrize(
    "text",
    [
        '{"port": "Brest"}{"port": "Dover"}',
        '{\n"port": "Brest"\n}\n{\n"port": "Dover"\n}',
        '[{"port": "Brest", /* deep, */ }, // first\n {"port": "Dover"},\n]',
    ],
)
def test_json_as_some_programs_write_it(tmp_path: Path, text: str) -> None:
    assert read(write(tmp_path, "ports.json", text)).text == "port: Brest\n\nport: Dover"


def test_notebook_outputs_that_are_pages_or_markdown(tmp_path: Path) -> None:
    outputs = [
        {"data": {"text/html": ["<table><tr><td>a</td><td>b</td></tr></table>"]}},
        {"data": {"text/markdown": "**tide** rises"}},
    ]
    cells = [{"cell_type": "code", "source": "show()", "outputs": outputs}]
    document = read(write(tmp_path, "n.ipynb", json.dumps({"nbformat": 4, "cells": cells})))
    assert document.text == "show()\n\na | b\n\n**tide** rises"


def test_xml_attributes_entities_breaks_and_listings(tmp_path: Path) -> None:
    text = (
        '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY firm "Quay and Sons"><!ENTITY eacute "&#233;"><!ENTITY b "<b>">]>'
        '<d><book id="b1" title="Lighthouse lore"><author>Ada</author></book><outline text="Tide news"/>'
        "<p>&firm; run a caf&eacute;&b;<br/>by the sea.</p><programlisting>winch --up\n  --fast</programlisting></d>"
    )
    document = read(write(tmp_path, "d.xml", text))
    assert "title: Lighthouse lore" in document.text and "b1" not in document.text
    assert "text: Tide news" in document.text
    assert "Quay and Sons run a café[b] by the sea." in document.text
    assert texts(document, ElementKind.CODE) == ["winch --up\n  --fast"]


def test_xml_that_names_pictures_and_documents_one_behind_the_other(tmp_path: Path) -> None:
    head = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY F1.TIF SYSTEM "F1.TIF" NDATA TIF>]>'
    one = f'{head}<d><p>a winch</p><image file="F1.TIF"/></d>\n'
    assert read(write(tmp_path, "two.xml", one + one.replace("a winch", "a crank"))).text == "a winch\n\na crank"


def test_a_cell_over_rows_and_columns_keeps_the_columns_below_it(tmp_path: Path) -> None:
    rows = "<tr><td rowspan=2 colspan=2>wide</td><td>a</td></tr><tr><td>b</td></tr><tr><td>c</td><td>d</td><td>e</td></tr>"
    document = read(write(tmp_path, "t.html", f"<html><body><table>{rows}</table></body></html>"))
    assert document.text == "wide |  | a\nwide |  | b\nc | d | e"


def test_a_cell_over_rows_reaches_below_a_row_that_ends_before_it(tmp_path: Path) -> None:
    rows = (
        "<tr><td>a</td><td>b</td><td rowspan=2>tall</td></tr><tr><td>c</td></tr>"
        "<tr><td>d</td><td>e</td><td rowspan=2>all</td></tr><tr></tr><tr><td>f</td><td>g</td><td>h</td></tr>"
    )
    document = read(write(tmp_path, "t.html", f"<html><body><table>{rows}</table></body></html>"))
    assert document.text == "a | b | tall\nc |  | tall\nd | e | all\nf | g | h"

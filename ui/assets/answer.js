// Draws an answer from data. Every piece of text becomes a text node, so nothing in it can act as HTML.
function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function button(className, label, act) {
  const node = make("button", className);
  node.type = "button";
  node.setAttribute("aria-label", label);
  node.title = label;
  node.onclick = act;
  return node;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea");
    area.value = text;
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function sentence(segment) {
  const node = make("span", segment.supported ? "sentence" : "sentence unsupported");
  node.title = segment.note;
  for (const part of segment.parts) node.append(part.strong ? make("strong", "", part.text) : document.createTextNode(part.text));
  if (!segment.supported) node.append(make("span", "hidden", " (" + segment.note + ")"));
  return node;
}

function marker(n, data, open) {
  const source = data.sources.find((one) => one.n === n);
  const label = source ? "Source " + n + ": " + source.title + (source.where ? ", " + source.where : "") : "Source " + n;
  const node = button("marker", label, () => open(n));
  node.textContent = String(n);
  node.setAttribute("aria-pressed", String(data.open === n));
  return node;
}

function place(row, open, isOpen) {
  const item = make("li");
  const node = button("place", "Open source " + row.n + ": " + row.title, () => open(row.n));
  node.removeAttribute("title");
  node.setAttribute("aria-pressed", String(isOpen));
  node.append(make("span", "number", String(row.n)));
  const words = make("span", "words");
  const title = make("span", "title", row.title);
  title.dir = "auto";
  words.append(title);
  if (row.where) {
    const where = make("span", "where", row.where);
    where.dir = "auto";
    words.append(where);
  }
  if (row.text) {
    const text = make("span", "snippet", row.text);
    text.dir = "auto";
    words.append(text);
  } else if (row.quote) {
    node.title = "“" + row.quote + "”";
  }
  node.append(words);
  item.append(node);
  return item;
}

function foot(data) {
  const row = make("div", "foot");
  row.append(make("span", data.whole ? "verdict whole" : "verdict part", data.verdict));
  const copy = button("copy", "Copy the answer with its footnotes", async () => {
    copy.textContent = (await copied(data.copy)) ? "Copied" : "Could not copy";
    setTimeout(() => (copy.textContent = "Copy"), 1600);
  });
  copy.textContent = "Copy";
  row.append(copy);
  return row;
}

export default function ({ parentElement, data, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const open = (n) => setTriggerValue("open", n);
  const focused = root.getRootNode().activeElement?.getAttribute("aria-label");
  root.replaceChildren();
  if (data.refused) {
    const box = make("div", "refusal");
    box.append(make("p", "headline", "Not answered"));
    const reason = make("p", "reason", data.reason.charAt(0).toUpperCase() + data.reason.slice(1));
    reason.dir = "auto";
    box.append(reason);
    if (data.nearest.length) box.append(make("p", "label", "The nearest passages"));
    root.append(box);
  } else {
    const text = make("div", data.quoted ? "answer quoted" : "answer");
    text.dir = "auto";
    for (const segment of data.segments) {
      if (segment.kind === "sentence") text.append(sentence(segment));
      else if (segment.kind === "marker") text.append(marker(segment.n, data, open));
      else text.append(document.createTextNode(segment.text));
    }
    root.append(text);
  }
  const rows = data.refused ? data.nearest : data.sources;
  if (rows.length) {
    const list = make("ol", data.refused ? "places nearest" : "places");
    list.dir = getComputedStyle(root.firstChild).direction;
    for (const row of rows) list.append(place(row, open, data.open === row.n));
    root.append(list);
  }
  if (!data.refused) root.append(foot(data));
  if (focused) [...root.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
}

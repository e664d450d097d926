// Draws a passage in its document: the page's picture with boxes on the words, or the text with the words marked.
function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function reveal(scroller, target) {
  const inside = target.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
  scroller.scrollTop += inside - scroller.clientHeight / 3;
  const lefts = [...scroller.querySelectorAll(".box")].map((box) => box.getBoundingClientRect().left);
  if (lefts.length) scroller.scrollLeft += Math.min(...lefts) - scroller.getBoundingClientRect().left - 16;
}

function textOf(data) {
  const node = make("div", "text");
  node.lang = data.lang || "";
  if (data.cutBefore) node.append(make("span", "cut", "… "));
  node.append(document.createTextNode(data.before));
  if (data.words) node.append(make("mark", "", data.words));
  node.append(document.createTextNode(data.after));
  if (data.cutAfter) node.append(make("span", "cut", " …"));
  return node;
}

function pageOf(data) {
  const sheet = make("div", "sheet");
  const picture = make("img");
  picture.alt = data.label;
  picture.src = "data:image/png;base64," + data.image;
  sheet.append(picture);
  for (const box of data.boxes) {
    const mark = make("div", "box");
    for (const side of ["left", "top", "width", "height"]) mark.style[side] = box[side] + "%";
    sheet.append(mark);
  }
  return sheet;
}

export default function ({ parentElement, data }) {
  const root = parentElement.querySelector(".root");
  if (root.dataset.drawn === data.id) return;
  root.dataset.drawn = data.id;
  root.replaceChildren();
  const scroller = make("div", "scroller " + data.view);
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "region");
  scroller.setAttribute("aria-label", data.label);
  scroller.append(data.view === "page" ? pageOf(data) : textOf(data));
  root.append(scroller);
  const sheet = scroller.querySelector(".sheet");
  const target = scroller.querySelector("mark, .box");
  const picture = scroller.querySelector("img");
  const zoom = () => {
    sheet.classList.toggle("large");
    reveal(scroller, target ?? sheet);
  };
  if (sheet) {
    sheet.onclick = zoom;
    scroller.onkeydown = (event) => {
      if (event.key === "Enter") zoom();
    };
  }
  if (!target) return;
  if (picture && !picture.complete) picture.onload = () => reveal(scroller, target);
  requestAnimationFrame(() => reveal(scroller, target));
}

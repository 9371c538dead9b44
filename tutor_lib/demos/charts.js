// Charts whose numbers can all be read as text.
import { argmax } from "./math.js";
import { fixed, h, percent, svg } from "./stage.js";

/**
 * Horizontal bars, one a row of a table. `update` takes rows of
 * `{ label, value, ghost, note, cut, chosen }`: `value` and `ghost` are shares of 1, the
 * ghost an outline behind the bar, `note` the words beside the number.
 */
export function bars({ label, columns }) {
  const body = h("tbody");
  const head = h("tr", {}, h("th", { scope: "col" }, columns[0]), h("td", { class: "track-head" }),
    columns.slice(1).map((name) => h("th", { scope: "col", class: "number" }, name)));
  const table = h("table", { class: "bars" }, h("caption", {}, label), h("thead", {}, head), body);
  const update = (rows) => body.replaceChildren(...rows.map(barRow));
  return { node: table, update };
}

function barRow({ label, value, ghost, note, cut, chosen }) {
  const width = (share) => `width:${(100 * share).toFixed(2)}%`;
  return h("tr", { class: [cut && "cut", chosen && "chosen"].filter(Boolean).join(" ") },
    h("th", { scope: "row" }, h("span", { class: "token" }, label)),
    h("td", { class: "track" }, h("div", {},
      ghost == null ? null : h("i", { class: "ghost", style: width(ghost) }),
      h("i", { class: "bar", style: width(value) }))),
    ghost == null ? null : h("td", { class: "number" }, percent(ghost)),
    h("td", { class: "number" }, note ?? percent(value)));
}

/**
 * Signed numbers as horizontal bars from one zero line, each a row of a table. `update` takes rows
 * of `{ label, value, numbers, muted, chosen }`: `numbers` are the texts beside the bar, `label` is
 * a text or a node.
 */
export function scoreBars({ label, columns }) {
  const body = h("tbody");
  const head = h("tr", {}, h("th", { scope: "col" }, columns[0]), h("td", { class: "track-head" }),
    columns.slice(1).map((name) => h("th", { scope: "col", class: "number" }, name)));
  const table = h("table", { class: "bars scores" }, h("caption", {}, label), h("thead", {}, head), body);
  const update = (rows) => {
    const values = rows.map((row) => row.value);
    const low = Math.min(0, ...values), span = Math.max(0, ...values) - low || 1;
    body.replaceChildren(...rows.map((row) => scoreRow(row, -low / span, 1 / span)));
  };
  return { node: table, update };
}

function scoreRow({ label, value, numbers, muted, chosen }, zero, scale) {
  const size = scale * Math.abs(value), share = (x) => `${(100 * x).toFixed(2)}%`;
  return h("tr", { class: [muted && "muted", chosen && "chosen"].filter(Boolean).join(" ") },
    h("th", { scope: "row" }, h("span", { class: "token" }, label)),
    h("td", { class: "track" }, h("div", { style: `--zero:${share(zero)}` },
      h("i", { class: "bar", style: `width:${share(size)};left:${share(value < 0 ? zero - size : zero)}` }))),
    numbers.map((text) => h("td", { class: "number" }, text)));
}

/** Signed numbers as thin bars up and down from a line, the largest in the accent. */
export function signedBars(values, { label, marked = [] }) {
  const height = 56, gap = 2, width = 8;
  const largest = Math.abs(values[argmax(values.map(Math.abs))]) || 1;
  const picture = svg("svg", {
    class: "signed", role: "img", "aria-label": label, preserveAspectRatio: "none",
    viewBox: `0 0 ${values.length * (width + gap)} ${height}`,
  });
  // Two paths instead of a node for each number: a page of demos stays light.
  const shapes = ["", ""];
  values.forEach((value, i) => {
    const tall = Math.max((Math.abs(value) / largest) * (height / 2 - 1), 0.5);
    const end = value > 0 ? height / 2 - tall : height / 2 + tall;
    shapes[Number(marked.includes(i))] += `M${i * (width + gap)} ${height / 2}h${width}V${end.toFixed(2)}h${-width}z`;
  });
  picture.append(svg("path", { d: shapes[0] }), svg("path", { d: shapes[1], class: "marked" }));
  return picture;
}

const LEVELS = 10;

/** The colour of a share from -1 to 1: one hue below zero, one above, paper at zero. */
export const signedColour = (share) =>
  `color-mix(in srgb, var(--td-${share < 0 ? "negative" : "positive"}) ${Math.round(100 * Math.abs(share))}%, var(--td-paper))`;

/** Rows of signed numbers as coloured cells; `limit` and beyond have the full colour. */
export function signedMap(rows, { limit, label }) {
  // One path a level of colour: thousands of cells stay a few nodes.
  const paths = new Map();
  rows.forEach((row, y) => row.forEach((value, x) => {
    const level = Math.round(LEVELS * Math.max(-1, Math.min(1, value / limit)));
    if (level) paths.set(level, `${paths.get(level) ?? ""}M${x} ${y}h1v1h-1z`);
  }));
  return svg("svg", { class: "signed-map", viewBox: `0 0 ${rows[0].length} ${rows.length}`,
    preserveAspectRatio: "none", "shape-rendering": "crispEdges",
    role: label ? "img" : null, "aria-label": label, "aria-hidden": label ? null : "true" },
  [...paths].map(([level, d]) => svg("path", { d, style: `fill:${signedColour(level / LEVELS)}` })));
}

/** A table of numbers behind a "show all" line. */
export function details(summary, columns, rows) {
  return h("details", {}, h("summary", {}, summary), numberTable(summary, columns, rows));
}

/** The table itself, in a box that scrolls. */
export function numberTable(label, columns, rows) {
  const cells = (row) => row.map((cell, i) => h(i ? "td" : "th", i ? { class: "number" } : { scope: "row" },
    typeof cell === "number" && i ? fixed(cell) : String(cell)));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, columns.map((name, i) =>
        h("th", { scope: "col", class: i ? "number" : "" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, cells(row))))));
}

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

/** Signed numbers as thin bars up and down from a line, the largest in the accent. */
export function signedBars(values, { label, marked = [] }) {
  const height = 56, gap = 2, width = 8;
  const largest = Math.abs(values[argmax(values.map(Math.abs))]) || 1;
  const picture = svg("svg", {
    class: "signed", role: "img", "aria-label": label, preserveAspectRatio: "none",
    viewBox: `0 0 ${values.length * (width + gap)} ${height}`,
  });
  values.forEach((value, i) => {
    const tall = (Math.abs(value) / largest) * (height / 2 - 1);
    picture.append(svg("rect", {
      x: i * (width + gap), width, height: Math.max(tall, 0.5),
      y: value > 0 ? height / 2 - tall : height / 2, class: marked.includes(i) ? "marked" : "",
    }));
  });
  return picture;
}

/** A table of numbers behind a "show all" line. */
export function details(summary, columns, rows) {
  const cells = (row) => row.map((cell, i) => h(i ? "td" : "th", i ? { class: "number" } : { scope: "row" },
    typeof cell === "number" && i ? fixed(cell) : String(cell)));
  return h("details", {}, h("summary", {}, summary),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": summary },
      h("table", { class: "plain" },
        h("thead", {}, h("tr", {}, columns.map((name, i) =>
          h("th", { scope: "col", class: i ? "number" : "" }, name)))),
        h("tbody", {}, rows.map((row) => h("tr", {}, cells(row)))))));
}

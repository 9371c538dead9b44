// Attention of many heads: read a text bit by bit, and draw weights quickly.
import { h, svg } from "./stage.js";
import { numberTable } from "./charts.js";

/**
 * A text being read, with every head's queries, keys and weights: `heads[layer][head]` is
 * `{ q: [T × D], k: [T × D], weights: [T × (t + 1)] }`. What two texts begin with alike is not
 * computed twice.
 */
export class TracedReading {
  constructor(teller) {
    const { n_layers, n_heads } = teller.config;
    this.teller = teller;
    this.cache = teller.newCache();
    this.ids = [];
    this.heads = Array.from({ length: n_layers }, () =>
      Array.from({ length: n_heads }, () => ({ q: [], k: [], weights: [] })));
  }

  /** Another text. The `heads` so far stay as they are: someone may still show them. */
  begin(ids) {
    let shared = 0;
    while (shared < this.cache.length && ids[shared] === this.ids[shared]) shared++;
    this.cache.length = shared;
    this.ids = [...ids];
    this.heads = this.heads.map((row) => row.map((head) => Object.fromEntries(
      Object.entries(head).map(([name, rows]) => [name, rows.slice(0, shared)]))));
  }

  /** Read a whole text. Returns its `heads`. */
  read(ids) {
    this.begin(ids);
    this.more();
    return this.heads;
  }

  /** Read at most `count` more tokens. Returns whether the text is read. */
  more(count = Infinity) {
    const end = Math.min(this.ids.length, this.cache.length + count);
    while (this.cache.length < end)
      this.teller.step(this.ids[this.cache.length], this.cache, (l, head, seen) => {
        for (const [name, value] of Object.entries(seen)) this.heads[l][head][name].push(value);
      });
    return end === this.ids.length;
  }
}

/**
 * Rows of shares of 1 as squares, one path a level of colour: thousands of cells are a few nodes.
 * Entry i of the result draws all cells that round to i / levels; a row may be short.
 */
export function heatPaths(rows, levels, gap = 0) {
  const paths = Array.from({ length: levels + 1 }, () => ""), side = 1 - gap;
  rows.forEach((row, y) => row.forEach((share, x) => {
    paths[Math.round(levels * share)] += `M${x} ${y}h${side}v${side}h-${side}z`;
  }));
  return paths;
}

/** A map of `update`d rows; it is a picture, and what it shows must be read elsewhere. */
export function heatMap({ levels = 50, gap = 0.06, label = null } = {}) {
  const paths = Array.from({ length: levels + 1 }, (_, i) => svg("path", {
    style: `fill:color-mix(in srgb, var(--td-heat-high) ${(100 * i) / levels}%, var(--td-heat-low))` }));
  const node = svg("svg", { class: "heat-map", preserveAspectRatio: "none",
    role: label ? "img" : null, "aria-label": label, "aria-hidden": label ? null : "true" }, paths);
  const update = (rows, columns = rows.length) => {
    node.setAttribute("viewBox", `0 0 ${columns} ${rows.length}`);
    heatPaths(rows, levels, gap).forEach((d, i) => {
      // Most levels stay as empty as they were.
      if (paths[i].drawn !== d) paths[i].setAttribute("d", (paths[i].drawn = d));
    });
  };
  return { node, update };
}

/** A folded table of numbers that is made when it is opened. `make` gives columns and rows. */
export function lateDetails(summary, make) {
  const node = h("details", {}, h("summary", {}, summary));
  const update = () => {
    node.querySelector(".scroll")?.remove();
    if (node.open) node.append(numberTable(summary, ...make()));
  };
  node.addEventListener("toggle", update);
  return { node, update };
}

/** Where an arrow, Home or End leads from cell (row, column) of a grid; null for another key. */
export function moved(key, [row, column], rows, columns = rows) {
  const to = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1], Home: [row, 0], End: [row, columns - 1] }[key];
  const inside = (i, count) => Math.max(0, Math.min(i, count - 1));
  return to ? [inside(to[0], rows), inside(to[1], columns)] : null;
}

/** The names that a head has earned: of each measure in which its score is at least `least`. */
export function headNames(measured, layer, head) {
  return measured.filter(({ scores, least }) => scores[layer]?.[head] >= least).map(({ name }) => name);
}

/** Where a head looks on average: at the token itself, the one before it, and the first one. */
export function headSummary(weights) {
  const mean = (at, from) => {
    const rows = weights.slice(from);
    return rows.length ? rows.reduce((sum, row, i) => sum + at(row, i + from), 0) / rows.length : 0;
  };
  return { self: mean((row, t) => row[t], 1), previous: mean((row, t) => row[t - 1], 1), first: mean((row) => row[0], 1) };
}

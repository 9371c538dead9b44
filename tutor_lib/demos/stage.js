// Where a demo draws: a shadow tree, so that a page's own styles and ours never meet.
import { STYLE } from "./style.js";
import { loadStoryteller } from "./load.js";

/** An element with attributes and children. True is a bare attribute; false and null are none. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes))
    if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

/** Remembers every listener, so that one call takes the demo away again. */
export class Stage {
  constructor(el, model) {
    this.el = el;
    this.model = model;
    this.ending = new AbortController();
    // JupyterLab would take the letters and arrows typed here for its own shortcuts. Where it
    // hears a key before this demo can stop it, it heeds this attribute.
    this.host = h("div", { class: "tutor-demo", "data-lm-suppress-shortcuts": "true" });
    this.root = h("div", { class: "demo" });
    this.host.attachShadow({ mode: "open" }).append(h("style", {}, STYLE), this.root);
    this.listen(this.host, "keydown", keepToItself);
    el.append(this.host);
  }

  add(...nodes) { this.root.append(...nodes); }

  listen(node, type, listener) {
    node.addEventListener(type, listener, { signal: this.ending.signal });
    return node;
  }

  /** Call `listener` now and whenever one of the traits changes. */
  watch(names, listener) {
    for (const name of names) this.onChange(name, listener);
    listener();
  }

  onChange(name, listener) {
    this.model.on(`change:${name}`, listener);
    this.ending.signal.addEventListener("abort", () => this.model.off(`change:${name}`, listener));
  }

  set(values) {
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
    this.model.save_changes();
  }

  /**
   * The reading of a text. Each of `texts` has one of its own, made while the page has nothing else
   * to do; what is typed goes on in the one before, which it mostly begins like.
   */
  readAhead(texts, make, read) {
    const known = new Map(), left = [...texts];
    const idle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 100));
    const next = () => {
      if (this.over || !left.length) return;
      const text = left.shift();
      if (!known.has(text)) {
        known.set(text, make());
        read(known.get(text), text);
      }
      idle(next);
    };
    idle(next);
    let current = null;
    return (text) => {
      // Asked for already: whoever asks reads it.
      if (left.includes(text) && !known.has(text)) known.set(text, make());
      return (current = known.get(text) ?? current ?? make());
    };
  }

  /** The demo shows something: its still picture can go. */
  ready() { this.host.dispatchEvent(new CustomEvent("tutor-ready", { bubbles: true })); }

  get over() { return this.ending.signal.aborted; }

  remove() {
    this.ending.abort();
    this.host.remove();
  }
}

/** Sphinx opens its search at "/": a letter typed into a demo is not for the page. */
function keepToItself(event) {
  if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Escape")
    event.stopPropagation();
}

/** Run `start` with the storyteller once it is there; meanwhile say so, or say what failed. */
export async function withStoryteller(stage, start) {
  const note = h("p", { class: "note", role: "status" }, "Loading the storyteller…");
  stage.add(note);
  let teller;
  try {
    teller = await loadStoryteller(stage.model);
  } catch (error) {
    if (!stage.over) note.replaceWith(failure(stage, error, start));
    return;
  }
  if (stage.over) return;
  note.remove();
  start(teller);
  stage.ready();
}

function failure(stage, error, start) {
  const again = h("button", { type: "button" }, "Try again");
  const note = h("p", { class: "note failure", role: "alert" }, `${error.message} `, again);
  stage.listen(again, "click", () => { note.remove(); withStoryteller(stage, start); });
  return note;
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A number with a true minus sign, so that columns align; what rounds to nothing has none. */
export const fixed = (value, digits = 3) => value.toFixed(digits).replace(/^-(?=[0.]+$)/, "").replace("-", "−");

/** A share as a percentage that never rounds something to nothing. Its spaces do not break. */
export function percent(share) {
  if (share === 0) return "0\u00a0%";
  if (share < 0.0005) return "<\u00a00.1\u00a0%";
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

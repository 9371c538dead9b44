// A page without a kernel: a stand-in for the widget model, and demos that mount when near.
import { h } from "./stage.js";

/** What a demo needs of a widget model, with nothing behind it. */
export class PageModel {
  constructor(state) {
    this.onPage = true;
    this.state = { ...state };
    this.listeners = new Map();
  }

  get(name) { return this.state[name]; }

  set(name, value) {
    if (Object.is(this.state[name], value)) return;
    this.state[name] = value;
    for (const listener of [...(this.listeners.get(`change:${name}`) ?? [])]) listener();
  }

  on(event, listener) {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set());
    this.listeners.get(event).add(listener);
  }

  off(event, listener) { this.listeners.get(event)?.delete(listener); }

  save_changes() {}

  send() {}
}

/** Mount `demo` in each of its places on the page as the reader comes near. */
export function mountAll(name, demo) {
  for (const place of document.querySelectorAll(`[data-tutor-demo="${name}"]:not([data-mounted])`)) {
    place.dataset.mounted = "waiting";
    whenNear(place, () => mount(place, demo));
  }
}

function whenNear(place, action) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    action();
  }, { rootMargin: "300px" });
  observer.observe(place);
}

/** Draw the demo; its still picture stays until there is something better to see. */
export function mount(place, demo) {
  const state = JSON.parse(place.querySelector('script[type="application/json"]').textContent);
  const el = h("div");
  place.addEventListener("tutor-ready", () => {
    place.querySelector(".tutor-picture")?.remove();
    place.dataset.mounted = "ready";
  }, { once: true });
  place.append(el);
  place.dataset.mounted = "yes";
  return demo.render({ model: new PageModel(state), el });
}

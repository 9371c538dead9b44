// Native inputs bound to traits. Each has a visible label and follows the trait both ways.
import { h } from "./stage.js";

/** A slider with its value written beside it. `format` says the value in words; `stretch` moves its end. */
export function slider(stage, name, { label, min, max, step, format = String }) {
  const input = h("input", { type: "range", min, max, step });
  // The input says its value itself, as aria-valuetext.
  const value = h("span", { class: "value", "aria-hidden": "true" });
  stage.listen(input, "input", () => stage.set({ [name]: Number(input.value) }));
  const show = () => {
    input.value = stage.model.get(name);
    value.textContent = format(stage.model.get(name));
    input.setAttribute("aria-valuetext", value.textContent);
  };
  stage.watch([name], show);
  const node = h("label", { class: "control" }, h("span", { class: "label" }, label, value), input);
  return { node, stretch: (end) => { input.max = end; show(); } };
}

/** A whole number to type. What is no number in range is put back when the field is left. */
export function numberField(stage, name, { label, min, max }) {
  const input = h("input", { type: "number", min, max, step: 1, inputmode: "numeric" });
  stage.listen(input, "input", () => {
    if (input.value !== "" && input.validity.valid) stage.set({ [name]: Number(input.value) });
  });
  const show = () => { input.value = stage.model.get(name); };
  stage.listen(input, "blur", show);
  stage.watch([name], () => { if (Number(input.value) !== stage.model.get(name)) show(); });
  return h("label", { class: "control" }, h("span", { class: "label" }, label), input);
}

/** Lines of text. */
export function textField(stage, name, { label, rows = 2, maxlength }) {
  const input = h("textarea", { rows, maxlength, spellcheck: "false", autocomplete: "off" });
  stage.listen(input, "input", () => stage.set({ [name]: input.value }));
  // Writing back what was typed would move the cursor.
  stage.watch([name], () => {
    if (input.value !== stage.model.get(name)) input.value = stage.model.get(name);
  });
  return h("label", { class: "control wide" }, h("span", { class: "label" }, label), input);
}

/** One of a few numbered options, as radio buttons in a row. */
export function choice(stage, name, { label, options }) {
  const inputs = options.map((_, value) => h("input", { type: "radio", name, value }));
  const set = h("fieldset", { class: "control choice" }, h("legend", { class: "label" }, label),
    h("span", { class: "segments" },
      inputs.map((input, i) => h("label", {}, input, h("span", {}, options[i])))));
  stage.listen(set, "change", (event) => stage.set({ [name]: Number(event.target.value) }));
  stage.watch([name], () => inputs.forEach((input, value) => {
    input.checked = value === stage.model.get(name);
  }));
  return set;
}

export function button(stage, label, action, attributes = {}) {
  const node = h("button", { type: "button", ...attributes }, label);
  // A disabled button would drop the keyboard's focus; this one stays and does nothing.
  return stage.listen(node, "click", () => {
    if (node.getAttribute("aria-disabled") !== "true") action();
  });
}

export function enable(node, on) { node.setAttribute("aria-disabled", String(!on)); }

/** Buttons that put a prepared text into a trait; the one in use is marked. */
export function presets(stage, name, { label }) {
  const buttons = Object.entries(stage.model.get("presets")).map(([title, text]) => ({
    text, node: button(stage, title, () => stage.set({ [name]: text }), { class: "chip" }),
  }));
  stage.watch([name], () => buttons.forEach(({ text, node }) =>
    node.setAttribute("aria-pressed", String(text === stage.model.get(name)))));
  return h("div", { class: "presets", role: "group", "aria-label": label },
    h("span", { class: "label" }, label), buttons.map(({ node }) => node));
}

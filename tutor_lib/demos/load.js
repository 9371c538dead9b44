// Fetch the storyteller once for all demos of a page, when the first of them needs it.
import { Storyteller } from "./storyteller.js";

let loading = null;

/** The storyteller. Fails with a message for the reader; the next call then tries again. */
export function loadStoryteller(model) {
  loading ??= (model.onPage ? fromPage() : fromPython(model))
    .then((data) => new Storyteller(data))
    .catch((error) => { loading = null; throw error; });
  return loading;
}

/** A classic script beside the page: from file:// a page may run one, but not fetch. */
async function fromPage() {
  if (!globalThis.tutorStoryteller) await runScript(scriptPath());
  const { weights, ...data } = globalThis.tutorStoryteller;
  return { ...data, weights: decodeBase64(weights) };
}

/** Sphinx writes the way from a page to the book's root on its html element. */
function scriptPath() {
  return `${document.documentElement.dataset.content_root ?? "./"}_static/storyteller.js`;
}

function runScript(path) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = path;
    script.onload = () => (globalThis.tutorStoryteller ? resolve()
      : reject(new Error(`${path} holds no storyteller. Build the book again.`)));
    script.onerror = () => {
      script.remove();
      reject(new Error(`The storyteller is missing: ${path} could not be read. Build the book again.`));
    };
    document.head.append(script);
  });
}

export function decodeBase64(text) {
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/** In JupyterLab Python holds the weights; asking for them keeps them out of the notebook. */
function fromPython(model, patience = 30000) {
  return new Promise((resolve, reject) => {
    const settle = (finish, value) => {
      clearTimeout(timer);
      model.off("msg:custom", answer);
      finish(value);
    };
    const answer = (message, buffers) => {
      if (message.kind === "storyteller") {
        const { buffer, byteOffset, byteLength } = buffers[0];
        settle(resolve, { ...message.data, weights: new Uint8Array(buffer, byteOffset, byteLength) });
      } else if (message.kind === "no storyteller") settle(reject, new Error(message.reason));
    };
    const silent = new Error("Python sent no storyteller. Is the kernel running? Run the cell again.");
    const timer = setTimeout(() => settle(reject, silent), patience);
    model.on("msg:custom", answer);
    model.send({ kind: "storyteller, please" });
  });
}

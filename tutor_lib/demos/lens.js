// The logit lens, as tutor_lib/inside/lens.py: what a decoder would say if it ended earlier.
import { argmax, softmax } from "./math.js";
import { largest } from "./sampling.js";

/** Keeps the residual stream of the last position: `[embedding, after block 1, …]`. */
export function streamCollector() {
  const streams = [];
  const wrote = (part, layer, written, x) => {
    if (part !== "attention") streams[part === "FFN" ? layer + 1 : 0] = x.slice();
  };
  return { streams, wrote };
}

/**
 * For each depth the `count` most probable tokens as `{ id, probability }`, and where the token
 * that the whole model likes best stands: its `rank` from 1, and its `share`.
 */
export function layerPredictions(teller, streams, count) {
  const depths = streams.map((x) => softmax(teller.unembed(x)));
  const final = argmax(depths.at(-1));
  return depths.map((shares) => ({
    top: largest(shares, count).map((id) => ({ id, probability: shares[id] })), share: shares[final],
    rank: 1 + shares.filter((share) => share > shares[final]).length,
  }));
}

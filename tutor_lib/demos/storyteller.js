// The storyteller: a decoder with RMSNorm, RoPE, grouped queries and SwiGLU, one token at a time.
import { attend, multiply, rmsNorm, ropeAngles, rotate, silu } from "./math.js";
import { BytePairTokenizer } from "./bpe.js";

/** 16-bit floats as 32-bit ones. `planes` holds all high bytes, then all low bytes. */
export function decodeHalves(planes) {
  const count = planes.length / 2;
  const scale = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 25));
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const high = planes[i];
    const exponent = (high >> 2) & 31, fraction = ((high & 3) << 8) | planes[count + i];
    // Subnormal numbers have exponent 0, the scale of 1, and no hidden bit.
    const size = exponent ? (1024 + fraction) * scale[exponent] : fraction * scale[1];
    out[i] = high >> 7 ? -size : size;
  }
  return out;
}

/** Cut the numbers into named matrices, in the order of the manifest. */
export function nameTensors(manifest, numbers) {
  const tensors = {};
  let at = 0;
  for (const [name, shape] of manifest) {
    const size = shape.reduce((a, b) => a * b, 1);
    tensors[name] = numbers.subarray(at, (at += size));
  }
  if (at !== numbers.length)
    throw new RangeError(`the model names ${at} numbers, but its file holds ${numbers.length}`);
  return tensors;
}

export class Storyteller {
  /** `data` is what tutor_lib/demos/weights.py wrote; `weights` are its bytes. */
  constructor({ config, tensors, weights, merges }) {
    this.config = config;
    this.headSize = config.d_model / config.n_heads;
    this.tensors = nameTensors(tensors, decodeHalves(weights));
    this.tokenizer = new BytePairTokenizer(merges);
    this.layers = Array.from({ length: config.n_layers }, (_, l) => this.layer(l));
  }

  layer(l) {
    const get = (name) => this.tensors[`blocks.${l}.${name}.weight`];
    return {
      attentionNorm: get("attention_norm"), ffnNorm: get("ffn_norm"),
      q: get("attention.q_proj"), k: get("attention.k_proj"),
      v: get("attention.v_proj"), o: get("attention.o_proj"),
      gate: get("ffn.gate_proj"), up: get("ffn.up_proj"), down: get("ffn.down_proj"),
    };
  }

  /** Room for the keys and values of a whole context. A shorter `length` forgets the rest. */
  newCache() {
    const { n_layers, n_kv_heads, context_length } = this.config;
    const room = () => new Float32Array(context_length * n_kv_heads * this.headSize);
    return {
      length: 0,
      keys: Array.from({ length: n_layers }, room),
      values: Array.from({ length: n_layers }, room),
    };
  }

  /**
   * Run `ids` after what `cache` holds. Returns the logits after the last of them. `trace` is
   * called for each head with its layer, its number and its `{ q, k, weights }`; `watch` has what
   * `step` calls on the way.
   */
  read(ids, cache = this.newCache(), trace = null, watch = {}) {
    const room = this.config.context_length;
    if (ids.length === 0) throw new RangeError("there is no token to read");
    if (cache.length + ids.length > room)
      throw new RangeError(`${cache.length + ids.length} tokens do not fit the context of ${room}`);
    let x;
    for (const id of ids) x = this.step(id, cache, trace, watch);
    return this.unembed(x);
  }

  /**
   * One token through all layers: the last vector of its residual stream.
   *
   * `watch.wrote(part, layer, written, x)` sees what the embedding, each attention and each FFN
   * adds, and the stream after it. `watch.neurons(layer, activations)` may change the hidden
   * units of an FFN in place.
   */
  step(id, cache, trace = null, watch = {}) {
    const { vocab_size, d_model, n_layers } = this.config;
    if (!(id >= 0 && id < vocab_size))
      throw new RangeError(`token id ${id} is outside 0…${vocab_size - 1}`);
    const x = this.tensors["embedding.weight"].slice(id * d_model, (id + 1) * d_model);
    const write = (part, l, written) => { add(x, written); watch.wrote?.(part, l, written, x); };
    watch.wrote?.("embedding", 0, x, x);
    for (let l = 0; l < n_layers; l++) {
      write("attention", l, this.attention(l, x, cache, trace));
      write("FFN", l, this.feedForward(l, x, watch));
    }
    cache.length += 1;
    return x;
  }

  /** What layer `l`'s attention adds to the stream; its keys and values go to the cache. */
  attention(l, x, cache, trace) {
    const { norm_eps, n_heads, n_kv_heads } = this.config;
    const layer = this.layers[l], size = this.headSize, stride = n_kv_heads * size;
    const read = rmsNorm(x, layer.attentionNorm, norm_eps);
    const q = this.turn(multiply(layer.q, read), cache.length);
    const k = this.turn(multiply(layer.k, read), cache.length);
    cache.keys[l].set(k, cache.length * stride);
    cache.values[l].set(multiply(layer.v, read), cache.length * stride);
    const mixed = new Float32Array(n_heads * size);
    for (let h = 0; h < n_heads; h++) {
      const start = this.kvHead(h) * size, query = q.subarray(h * size, (h + 1) * size);
      const head = attend(query, cache.keys[l], cache.values[l], cache.length + 1, stride, start);
      mixed.set(head.mixed, h * size);
      trace?.(l, h, { q: query, k: k.subarray(start, start + size), weights: head.weights });
    }
    return multiply(layer.o, mixed);
  }

  /** The key/value head that query head `h` shares with its neighbours. */
  kvHead(h) { return Math.floor(h / (this.config.n_heads / this.config.n_kv_heads)); }

  /** Rotate every head of `x` for its position. */
  turn(x, position) {
    const angles = ropeAngles(position, this.headSize, this.config.rope_base);
    for (let at = 0; at < x.length; at += this.headSize)
      rotate(x.subarray(at, at + this.headSize), angles);
    return x;
  }

  /** What layer `l`'s FFN adds: W_down (silu(W_gate x) ⊙ W_up x). */
  feedForward(l, x, watch = {}) {
    const layer = this.layers[l];
    const read = rmsNorm(x, layer.ffnNorm, this.config.norm_eps);
    const up = multiply(layer.up, read);
    const gate = multiply(layer.gate, read);
    for (let i = 0; i < gate.length; i++) gate[i] = silu(gate[i]) * up[i];
    watch.neurons?.(l, gate);
    return multiply(layer.down, gate);
  }

  /** Compare the normalised vector with every token's embedding. */
  unembed(x) {
    const normed = rmsNorm(x, this.tensors["final_norm.weight"], this.config.norm_eps);
    return multiply(this.tensors["embedding.weight"], normed);
  }
}

function add(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i];
}

/** The ids of a text's first tokens, as many as the demo shows. */
export const firstIds = (stage, tokenizer, text = stage.model.get("text")) =>
  tokenizer.encode(text).slice(0, stage.model.get("max_tokens"));

/** What the model is given to read: an empty prompt becomes the end of the text before it. */
export function promptIds(tokenizer, prompt) {
  const ids = tokenizer.encode(prompt);
  return ids.length ? ids : [tokenizer.endOfTextId];
}

/** A text being read: what two readings begin with alike is not computed twice. */
export class Reading {
  constructor(teller) {
    this.teller = teller;
    this.cache = teller.newCache();
    this.ids = [];
  }

  /** The logits after the last of `ids`; `watch` sees the way of each that is computed. */
  read(ids, watch = {}) {
    let shared = 0;
    while (shared < ids.length - 1 && shared < this.ids.length && ids[shared] === this.ids[shared])
      shared++;
    this.cache.length = shared;
    this.ids = [...ids];
    return this.teller.read(ids.slice(shared), this.cache, null, watch);
  }
}

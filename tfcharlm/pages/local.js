// A model in this page: the step of its cells, sampling with the noise of `CharLM.generate`, and scores.
// The element #model-data has the description that `tfcharlm.artefact.export_html` wrote.

const LANES = 32;                       // columns of a block in products.wat
const MOST_LIKELY = 5;
const MILLISECONDS = 30;                // between two pieces of text; a frame of the screen is 17

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// The numbers of an array as float32; those of int8 without their scales.
function numbersOf({ type, data }) {
  const { buffer } = bytesOf(data);
  if (type === "float32") return new Float32Array(buffer);
  if (type === "int8") return new Int8Array(buffer);
  return Float32Array.from(new Uint16Array(buffer), (bits) => {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * fraction * 2 ** -24;
  });
}

// Memory that JavaScript and WebAssembly share; arrays in it never move.
class Arena {
  constructor(bytes) {
    this.memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) + 1 });
    this.used = 16;
  }

  array(Type, length) {
    const offset = this.used;
    this.used += Math.ceil(length * Type.BYTES_PER_ELEMENT / 16) * 16;
    return new Type(this.memory.buffer, offset, length);
  }
}

const blocksOf = (columns) => Math.ceil(columns / LANES);

// A matrix (rows, columns), packed for the products.
class Matrix {
  constructor(arena, functions, { shape: [rows, columns], type, data, scale }) {
    Object.assign(this, { functions, rows, columns, blocks: blocksOf(columns), isQuantized: type === "int8" });
    const numbers = numbersOf({ type, data });
    const height = this.isQuantized ? rows + rows % 2 : rows;
    this.pairs = height / 2;
    this.weights = arena.array(this.isQuantized ? Int8Array : Float32Array, height * this.blocks * LANES);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const block = Math.floor(column / LANES) * height * LANES, lane = column % LANES;
        const within = this.isQuantized ? (row >> 1) * 2 * LANES + 2 * lane + row % 2 : row * LANES + lane;
        this.weights[block + within] = numbers[row * columns + column];
      }
    }
    if (!this.isQuantized) return;
    this.scales = arena.array(Float32Array, this.blocks * LANES);
    this.scales.set(numbersOf(scale));
    this.rounded = arena.array(Int16Array, height);
    // Sums of products of 8 and 16 bits must fit into 32 bits. Outputs of the cells are from -1 to 1.
    this.steps = Math.min(32767, Math.floor((2 ** 31 - 1) / (127 * height)));
  }

  static bytes({ shape: [rows, columns], type }) {
    const padded = (rows + 1) * blocksOf(columns) * LANES;
    return type === "int8" ? padded + 4 * columns + 2 * rows + 512 : 4 * padded + 64;
  }

  // out += x W; x and out are arrays of the arena, and out has room for whole blocks.
  addProduct(x, out) {
    if (!this.isQuantized) {
      this.functions.product_f32(x.byteOffset, this.weights.byteOffset, out.byteOffset, this.rows, this.blocks);
      return;
    }
    for (let i = 0; i < this.rows; i++) this.rounded[i] = Math.round(x[i] * this.steps);
    const [input, weights, scales] = [this.rounded, this.weights, this.scales].map((array) => array.byteOffset);
    this.functions.product_i8(input, weights, out.byteOffset, this.pairs, this.blocks, scales, 1 / this.steps);
  }
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
// Math.tanh takes three times as long; what this loses near 0 is less than float32 keeps.
const tanh = (x) => 2 / (1 + Math.exp(-2 * x)) - 1;

// Each cell: blocks of columns, names of the states and of all values, and one step. `x` are the pre-activations of the
// input with the bias, `z` those of the state, each `blocks * units` numbers; `values` gets everything that has a name.
const CELLS = {
  rnn: {
    blocks: 1, states: ["h"], names: ["h"],
    step(units, x, z, values) {
      for (let i = 0; i < units; i++) values.h[i] = tanh(x[i] + z[i]);
    },
  },
  lstm: {
    blocks: 4, states: ["h", "c"], names: ["i", "f", "g", "o", "c", "h"],
    step(units, x, z, values, { cap_input_gate }) {
      const { i, f, g, o, c, h } = values;
      for (let n = 0; n < units; n++) {
        f[n] = sigmoid(x[n + units] + z[n + units]);
        i[n] = sigmoid(x[n] + z[n]);
        if (cap_input_gate) i[n] = Math.min(i[n], 1 - f[n]);
        g[n] = tanh(x[n + 2 * units] + z[n + 2 * units]);
        o[n] = sigmoid(x[n + 3 * units] + z[n + 3 * units]);
        c[n] = f[n] * c[n] + i[n] * g[n];
        h[n] = o[n] * tanh(c[n]);
      }
    },
  },
  gru: {
    blocks: 3, states: ["h"], names: ["z", "r", "g", "h"],
    step(units, x, s, values) {
      const { z, r, g, h } = values;
      for (let n = 0; n < units; n++) {
        z[n] = sigmoid(x[n] + s[n]);
        r[n] = sigmoid(x[n + units] + s[n + units]);
        g[n] = tanh(x[n + 2 * units] + r[n] * s[n + 2 * units]);
        h[n] = z[n] * h[n] + (1 - z[n]) * g[n];
      }
    },
  },
};

class Layer {
  constructor(arena, functions, description, vectors, size) {
    const { cell, units, kernel, recurrent_kernel, bias, recurrent_bias, reads } = description;
    Object.assign(this, { units, reads, options: description, cell: CELLS[cell] });
    this.width = this.cell.blocks * units;
    const room = blocksOf(this.width) * LANES;
    this.bias = numbersOf(bias);
    this.recurrentBias = recurrent_bias && numbersOf(recurrent_bias);
    this.recurrentKernel = new Matrix(arena, functions, recurrent_kernel);
    this.x = arena.array(Float32Array, room);
    this.z = arena.array(Float32Array, room);
    this.kernel = new Matrix(arena, functions, kernel);
    this.values = Object.fromEntries(this.cell.names.map((name) => [name, arena.array(Float32Array, units + 1)]));
    if (reads.length !== 1 || reads[0] !== -1) return;
    // There are few tokens: their vectors are multiplied once.
    const vector = arena.array(Float32Array, vectors.length / size);
    this.table = Array.from({ length: size }, (_, token) => {
      vector.set(vectors.subarray(token * vector.length, (token + 1) * vector.length));
      return this.ofInput(vector).slice(0, this.width);
    });
  }

  ofInput(input) {
    this.x.fill(0);
    this.x.set(this.bias);
    this.kernel.addProduct(input, this.x);
    return this.x;
  }

  step(x) {
    this.z.fill(0);
    if (this.recurrentBias) this.z.set(this.recurrentBias);
    this.recurrentKernel.addProduct(this.values.h, this.z);
    this.cell.step(this.units, x, this.z, this.values, this.options);
  }

  reset() {
    for (const array of Object.values(this.values)) array.fill(0);
  }
}

class Model {
  constructor(about) {
    const matrices = [about.head_kernel, ...about.layers.flatMap((layer) => [layer.kernel, layer.recurrent_kernel])];
    const bytes = matrices.reduce((sum, matrix) => sum + Matrix.bytes(matrix), 0);
    const numbers = about.layers.reduce((sum, layer) => sum + 20 * (layer.units + LANES), 0) + 8 * about.tokens.length;
    const arena = new Arena(bytes + 8 * numbers + 8 * about.embedding_dim + 65536);
    const module = new WebAssembly.Module(bytesOf(about.wasm));
    const functions = new WebAssembly.Instance(module, { env: { memory: arena.memory } }).exports;
    this.about = about;
    this.size = about.tokens.length;
    this.vectors = numbersOf(about.embeddings);
    this.layers = about.layers.map((layer) => new Layer(arena, functions, layer, this.vectors, this.size));
    this.head = new Matrix(arena, functions, about.head_kernel);
    this.headBias = numbersOf(about.head_bias);
    this.headInput = arena.array(Float32Array, this.head.rows + 1);
    this.layerInput = arena.array(Float32Array, Math.max(...this.layers.map((layer) => layer.kernel.rows)) + 1);
    this.logits = arena.array(Float32Array, blocksOf(this.size) * LANES);
    this.sums = new Float32Array(this.size);
    this.firstDigit = about.spelling ? this.size - about.spelling[0].length : this.size;
    this.idOf = new Map(about.tokens.map((token, i) => [token, i]));
  }

  // A new text: zero states, and the line start is read.
  begin() {
    for (const layer of this.layers) layer.reset();
    this.spelled = 0;
    this.hasLogits = false;
    for (const token of this.about.start) this.read(token);
  }

  read(token) {
    for (const layer of this.layers) {
      if (layer.table) { layer.step(layer.table[token]); continue; }
      this.gather(layer.reads, token, this.layerInput);
      layer.step(layer.ofInput(this.layerInput));
    }
    const { head_reads, members } = this.about;
    this.gather(head_reads, token, this.headInput);
    if (members > 1) for (let i = 0; i < this.head.rows; i++) this.headInput[i] /= members;
    this.logits.fill(0);
    this.logits.set(this.headBias);
    this.head.addProduct(this.headInput, this.logits);
    const { spelling } = this.about;
    if (spelling) {
      this.spelled = token >= this.firstDigit ? Math.max(0, spelling[this.spelled][token - this.firstDigit]) : 0;
      if (this.spelled) this.logits.fill(-Infinity, 0, this.firstDigit);
      spelling[this.spelled].forEach((after, i) => { if (after < 0) this.logits[this.firstDigit + i] = -Infinity; });
    }
    this.highest = -Infinity;
    for (let i = 0; i < this.size; i++) this.highest = Math.max(this.highest, this.logits[i]);
    this.hasLogits = true;
  }

  gather(reads, token, out) {
    let end = 0;
    const vector = this.about.embedding_dim;
    for (const source of reads) {
      const part = source < 0
        ? this.vectors.subarray(token * vector, (token + 1) * vector)
        : this.layers[source].values.h.subarray(0, this.layers[source].units);
      out.set(part, end);
      end += part.length;
    }
  }

  // The score of a token that comes next: {nats, likely}; nothing predicts the first token of a text.
  scoreOf(token) {
    if (!this.hasLogits) return { nats: null, likely: [] };
    const { logits, highest } = this;
    let sum = 0;
    for (let i = 0; i < this.size; i++) sum += Math.exp(logits[i] - highest);
    const total = highest + Math.log(sum);
    const best = [];
    for (let i = 0; i < this.size; i++) {
      if (best.length === MOST_LIKELY && logits[i] <= logits[best[MOST_LIKELY - 1]]) continue;
      let place = best.length;
      while (place && logits[best[place - 1]] < logits[i]) place--;
      best.splice(place, 0, i);
      best.length = Math.min(best.length, MOST_LIKELY);
    }
    return { nats: logits[token] - total, likely: best.map((i) => [this.about.tokens[i], logits[i] - total]) };
  }

  // The next token: inversion of the cumulative distribution, as `tfcharlm.generation.sampling.sample`.
  sample(temperature, uniform) {
    const { logits, highest, sums } = this;
    if (temperature === 0) return logits.indexOf(highest);
    let sum = 0;
    for (let i = 0; i < this.size; i++) {
      sum = sums[i] = Math.fround(sum + Math.exp((logits[i] - highest) / temperature));
    }
    let drawn = 0;
    while (drawn < this.size - 1 && sums[drawn] < uniform * sum) drawn++;
    return drawn;
  }

  encode(text) {
    const { level, pattern } = this.about;
    text = text.replace(/\p{Surrogate}/gu, "\ufffd");
    if (level === "byte") return Array.from(new TextEncoder().encode(text));
    const ids = [];
    for (const piece of text.match(new RegExp(pattern, "gu")) ?? []) {
      for (const part of this.idOf.has(piece) || level !== "word" ? [piece] : Array.from(piece)) {
        if (this.idOf.has(part)) ids.push(this.idOf.get(part));
        else ids.push(...this.spell(part));
      }
    }
    return ids;
  }

  spell(character) {
    if (!this.about.spelling) throw new Error(`“${character}” is not in the model's vocabulary; leave it out.`);
    const digits = Array.from(new TextEncoder().encode(character), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return Array.from(digits.toUpperCase(), (digit, i) => this.idOf.get(i ? `<${digit}>` : `<0x${digit}>`));
  }
}

// What tokens add to a text, one by one: a character belongs to its last byte or digit.
class Pieces {
  constructor(model) {
    Object.assign(this, { model, decoder: new TextDecoder("utf-8"), digits: "" });
  }

  add(token) {
    const { about: { level, tokens }, firstDigit } = this.model;
    if (level === "byte") return this.decoder.decode(Uint8Array.of(token), { stream: true });
    if (token < firstDigit) return tokens[token];
    this.digits += tokens[token].at(-2);
    const bytes = { C: 2, D: 2, E: 3, F: 4 }[this.digits[0]] ?? 1;
    if (this.digits.length < 2 * bytes) return "";
    const whole = Uint8Array.from(this.digits.match(/../g), (pair) => parseInt(pair, 16));
    this.digits = "";
    return this.decoder.decode(whole);
  }
}

// Threefry-2x32: the noise of (seed, position), see `tfcharlm.generation.noise`.
function uniform(seed, position) {
  const bits = BigInt.asUintN(64, BigInt(seed));
  const low = Number(bits & 0xffffffffn), high = Number(bits >> 32n);
  const keys = [low, high, (low ^ high ^ 0x1bd11bda) >>> 0];
  const rotations = [[13, 15, 26, 6], [17, 29, 16, 24]];
  let a = (position + keys[0]) >>> 0, b = keys[1];
  for (let group = 0; group < 5; group++) {
    for (const rotation of rotations[group % 2]) {
      a = (a + b) >>> 0;
      b = (((b << rotation) | (b >>> (32 - rotation))) ^ a) >>> 0;
    }
    a = (a + keys[(group + 1) % 3]) >>> 0;
    b = (b + keys[(group + 2) % 3] + group + 1) >>> 0;
  }
  return (2 * (a >>> 9) + 1) * 2 ** -24;
}

const pause = () => new Promise((resolve) => setTimeout(resolve));

// Reads tokens with their scores, and lets the page react meanwhile. `next(i)` is the i-th token, or null at the end.
async function scored(model, next, onScores, signal, each = () => {}) {
  const pieces = new Pieces(model);
  let scores = [], since = performance.now();
  for (let i = 0; ; i++) {
    const token = next(i);
    if (token === null) break;
    const score = model.scoreOf(token);
    scores.push({ token: pieces.add(token), ...score });
    model.read(token);
    each();
    if (performance.now() - since < MILLISECONDS) continue;
    onScores(scores);
    scores = [];
    await pause();
    signal?.throwIfAborted();
    since = performance.now();
  }
  onScores(scores);
}

let loaded = null;
function theModel() {
  if (!loaded) loaded = new Model(JSON.parse($("model-data").textContent));
  return loaded;
}

function begin(model, text, isPrompt) {
  const ids = model.encode(text);
  if (isPrompt && !ids.length && !model.about.start.length) {
    throw new Error("the prompt must not be empty, because this model has no newline.");
  }
  model.begin();
  return ids;
}

const backend = {
  async models() {
    return [theModel().about.name];
  },

  async write({ prompt, length, temperature, seed }, onScores, signal) {
    const model = theModel(), given = begin(model, prompt, true);
    const next = (i) => i < given.length ? given[i]
      : i < given.length + length ? model.sample(temperature, uniform(seed, i - given.length)) : null;
    await scored(model, next, onScores, signal);
  },

  async score({ prompt }, signal) {
    const model = theModel(), given = begin(model, prompt, false), scores = [];
    await scored(model, (i) => given[i] ?? null, (more) => scores.push(...more), signal);
    return scores;
  },

  async units(_, text, layer, kind, unit) {
    const model = theModel(), given = begin(model, text, false), values = [];
    const kinds = model.layers.flatMap((one, i) => one.cell.names.map((name) => [i, name, one.units]));
    const { units, values: arrays } = model.layers[layer];
    if (!(unit >= 0 && unit < units)) throw new Error(`the unit must be from 0 to ${units - 1}.`);
    const array = arrays[kind || "h"];
    await scored(model, (i) => given[i] ?? null, () => {}, null, () => values.push(array[unit]));
    return { kinds, values };
  },
};

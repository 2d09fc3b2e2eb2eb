// The page: what a reader types, the text with its colors, and the details of a character.
// `backend` is a model on a server (remote.js) or in this page (local.js). All of its functions return promises:
//   models() -> [name]
//   write(settings, onScores, signal)   settings: {model, prompt, length, temperature, seed}; onScores gets arrays of scores
//   score(settings, signal) -> scores   a score: {token, nats, likely: [[token, nats], ...]}; nats is null if it was given
//   units(model, text, kind, unit) -> {kinds: [[layer, kind, size], ...], values: [number for each token]}

const $ = (id) => document.getElementById(id);
const BITS = 1 / Math.log(2);
const MOST_SURPRISING = 10;
let shown = [];          // scores of the tokens on the page, in their order
let spans = [];          // their elements
let here = -1;           // the token that the details are about
let values = null;       // of a unit, for each token
let followed = 0;        // how often a unit was asked for; only the last answer counts
let working = null;      // an AbortController while a text is being made

function setStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function settings() {
  const seed = $("seed").value === "" ? Math.floor(Math.random() * 2 ** 32) : Number($("seed").value);
  return {
    model: $("model").value, prompt: $("prompt").value, length: Number($("length").value),
    temperature: Number($("temperature").value), seed,
  };
}

function visible(token) {
  return token === "\n" ? "new line" : token === " " ? "space" : token === "\t" ? "tab" : token;
}

function color(i) {
  if (values !== null) {
    const value = values[i];
    if (value === undefined) return "";
    return `rgba(var(${value < 0 ? "--below" : "--heat"}), ${Math.min(Math.abs(value), 1) * 0.85})`;
  }
  const nats = shown[i].nats;
  if (nats === null) return "";
  return `rgba(var(--heat), ${Math.min(-nats * BITS / MOST_SURPRISING, 1) * 0.85})`;
}

function paint(from = 0) {
  for (let i = from; i < spans.length; i++) spans[i].style.backgroundColor = color(i);
}

function append(scores) {
  const from = spans.length;
  const fragment = document.createDocumentFragment();
  for (const score of scores) {
    const span = document.createElement("span");
    span.textContent = score.token;
    span.dataset.i = spans.length;
    if (score.token === "\n") span.className = "newline";
    shown.push(score);
    spans.push(span);
    fragment.append(span);
  }
  paint(from);
  $("text").append(fragment);
}

function clear() {
  shown = []; spans = []; here = -1; values = null;
  $("text").replaceChildren();
  $("details").replaceChildren();
}

function row(cells, className = "") {
  const tr = document.createElement("tr");
  tr.className = className;
  for (const cell of cells) {
    const td = document.createElement("td");
    td.textContent = cell;
    tr.append(td);
  }
  return tr;
}

function percent(nats) {
  const p = 100 * Math.exp(nats);
  return `${p >= 0.1 ? p.toFixed(1) : p.toExponential(0)} %`;
}

function showDetails(i) {
  if (i < 0 || i >= spans.length) return;
  if (here >= 0) spans[here].classList.remove("here");
  here = i;
  spans[i].classList.add("here");
  const { token, nats, likely } = shown[i];
  const head = document.createElement("p");
  head.textContent = nats === null
    ? `“${visible(token)}” was given.`
    : `“${visible(token)}”: ${(-nats * BITS).toFixed(1)} bits of surprise, a probability of ${percent(nats)}.`;
  if (values !== null && values[i] !== undefined) head.textContent += ` The unit has the value ${values[i].toFixed(2)}.`;
  const table = document.createElement("table");
  for (const [other, otherNats] of likely) {
    table.append(row([visible(other), percent(otherNats)], other === token ? "chosen" : ""));
  }
  $("details").replaceChildren(head, table);
}

async function run(what) {
  if (working) working.abort();
  const controller = working = new AbortController();
  $("stop").disabled = false;
  clear();
  try {
    await what(controller.signal);
  } catch (error) {
    if (error.name !== "AbortError") setStatus(error.message, true);
    else if (working === controller) setStatus("Stopped.");
    if (error.status === 401) { $("key-field").hidden = false; $("key").focus(); }
  }
  if (working === controller) {
    working = null;
    $("stop").disabled = true;
    if (chosenColor() === "unit") await follow();
  }
}

function summary() {
  const scored = shown.filter((score) => score.nats !== null);
  const bits = -scored.reduce((sum, score) => sum + score.nats, 0) * BITS;
  const characters = Array.from(scored.map((score) => score.token).join("")).length;
  return `${(bits / Math.max(characters, 1)).toFixed(2)} bits for each character`;
}

function write() {
  return run(async (signal) => {
    const given = settings();
    setStatus("Writing …");
    const began = performance.now();
    let count = 0;
    await backend.write(given, (scores) => { append(scores); count += scores.length; }, signal);
    const seconds = (performance.now() - began) / 1000;
    setStatus(`Seed ${given.seed}. ${count.toLocaleString("en")} characters in ${seconds.toFixed(1)} s; ${summary()}.`);
  });
}

function score() {
  return run(async (signal) => {
    setStatus("Scoring …");
    append(await backend.score(settings(), signal));
    setStatus(`${shown.length.toLocaleString("en")} characters; ${summary()}.`);
  });
}

function chosenColor() {
  return document.querySelector("input[name=color]:checked").value;
}

async function follow() {
  const own = ++followed;
  const text = shown.map((score) => score.token).join("");
  $("unit-fields").hidden = chosenColor() !== "unit";
  values = null;
  try {
    if (chosenColor() === "unit" && text) {
      const [layer, kind] = ($("kind").value || "0 ").split(" ");
      const answer = await backend.units($("model").value, text, Number(layer), kind, Number($("unit").value));
      if (own !== followed) return;
      const options = answer.kinds.map(([l, k, size]) => [`${l} ${k}`, `layer ${l}: ${k} (${size} units)`]);
      const chosen = $("kind").value;
      $("kind").replaceChildren(...options.map(([value, label]) => new Option(label, value)));
      if (options.some(([value]) => value === chosen)) $("kind").value = chosen;
      values = answer.values;
    }
  } catch (error) {
    setStatus(error.message, true);
  }
  paint();
  showScale();
  showDetails(here);
}

function showScale() {
  const isUnit = values !== null;
  const steps = isUnit ? [-1, -0.5, 0, 0.5, 1] : [0, 2, 4, 6, 8, MOST_SURPRISING];
  $("scale").replaceChildren(...steps.map((step) => {
    const span = document.createElement("span");
    const strength = isUnit ? Math.abs(step) : step / MOST_SURPRISING;
    span.style.backgroundColor = `rgba(var(${step < 0 ? "--below" : "--heat"}), ${strength * 0.85})`;
    span.textContent = isUnit ? step : `${step}${step === MOST_SURPRISING ? "+ bits" : ""}`;
    return span;
  }));
}

$("settings").addEventListener("submit", (event) => { event.preventDefault(); write(); });
$("stop").addEventListener("click", () => working && working.abort());
$("score").addEventListener("click", score);
$("colors").addEventListener("change", follow);
$("text").addEventListener("mouseover", (event) => event.target.dataset.i && showDetails(Number(event.target.dataset.i)));
$("text").addEventListener("click", (event) => event.target.dataset.i && showDetails(Number(event.target.dataset.i)));
$("text").addEventListener("keydown", (event) => {
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 20, ArrowUp: -20, Home: -Infinity, End: Infinity };
  if (!(event.key in moves) || !spans.length) return;
  event.preventDefault();
  showDetails(Math.max(0, Math.min(spans.length - 1, here + moves[event.key])));
  spans[here].scrollIntoView({ block: "nearest" });
});

async function start() {
  try {
    const names = await backend.models();
    $("model").replaceChildren(...names.map((name) => new Option(name)));
    $("model-field").hidden = names.length < 2;
    setStatus("");
  } catch (error) {
    setStatus(error.message, true);
    if (error.status === 401) { $("key-field").hidden = false; $("key").focus(); }
  }
}
$("key").addEventListener("change", start);
showScale();
start();

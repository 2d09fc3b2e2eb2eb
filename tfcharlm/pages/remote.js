// A model on the server that this page came from.

const LIKELY = 5;

async function ask(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
  const options = { headers, signal, credentials: "omit" };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; is it running?");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw Object.assign(new Error(answer?.error?.message ?? `status ${response.status}`), { status: response.status });
  }
  return response;
}

function scoresOf({ logprobs }) {
  return logprobs.tokens.map((token, i) => ({
    token, nats: logprobs.token_logprobs[i],
    likely: Object.entries(logprobs.top_logprobs[i] ?? {}).sort((a, b) => b[1] - a[1]),
  }));
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

const backend = {
  async models() {
    return (await (await ask("v1/models")).json()).data.map((model) => model.id);
  },

  async write({ model, prompt, length, temperature, seed }, onScores, signal) {
    const body = { model, prompt, max_tokens: length, temperature, seed, echo: true, logprobs: LIKELY, stream: true };
    for await (const event of events(await ask("v1/completions", body, signal))) {
      if (event.error) throw new Error(event.error.message);
      onScores(scoresOf(event.choices[0]));
    }
  },

  async score({ model, prompt }, signal) {
    const body = { model, prompt, max_tokens: 0, echo: true, logprobs: LIKELY };
    return scoresOf((await (await ask("v1/completions", body, signal)).json()).choices[0]);
  },

  async units(model, text, layer, kind, unit) {
    const body = { model, input: text.slice(0, 4000), layer, kind: kind || null, unit };
    return (await ask("v1/activations", body)).json();
  },
};

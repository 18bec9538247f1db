// Sends the files of a model in pieces, each saying where it belongs. A cut line is waited for; after a reload the same
// files go on where they were, for the box remembers what it has.

import { text } from "./texts.js";
import { Speed, size } from "./transfer.js";

const RETRY_MILLISECONDS = [1000, 2000, 5000, 10_000, 15_000];
const token = document.querySelector('meta[name="csrf-token"]').content;
let sending = null;

class Refused extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

/** The JSON of an answer. Throws Refused for the box's no, TypeError where there is no answer. */
async function ask(url, options = {}) {
  const answer = await fetch(url, { ...options, headers: { Accept: "application/json", "X-CSRFToken": token, ...options.headers } });
  if (answer.status >= 502) throw new TypeError(String(answer.status));
  if (!answer.headers.get("Content-Type")?.startsWith("application/json")) throw new Refused({ code: "signed_out", message: text("signed_out") });
  const told = await answer.json();
  if (!answer.ok) throw new Refused(told.error);
  return told;
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** `path` inside the model's folder: the folder that was chosen is not part of it. */
function chosen(input) {
  return [...input.files]
    .map((file) => ({ file, path: file.webkitRelativePath ? file.webkitRelativePath.split("/").slice(1).join("/") : file.name }))
    .filter(({ path, file }) => file.size && !path.split("/").some((part) => part.startsWith(".")));
}

class Sending {
  constructor(form, files) {
    this.form = form;
    this.files = files;
    this.all = files.reduce((sum, { file }) => sum + file.size, 0);
    this.cancelled = this.finished = false;
    this.speed = new Speed();
    this.bar = form.querySelector(".sending");
    this.bar.hidden = false;
  }

  show(received) {
    const done = Object.values(received).reduce((sum, bytes) => sum + bytes, 0);
    this.speed.add(done);
    this.bar.querySelector("progress").value = this.all ? done / this.all : 0;
    this.bar.querySelector("[data-sent]").textContent = this.form.dataset.progress.replace("{done}", size(done)).replace("{all}", size(this.all));
    this.bar.querySelector("[data-left]").textContent = this.speed.words(this.form.dataset.speed, this.all);
  }

  /** Until the box has all of it. Throws Refused. */
  async run(state, urls) {
    this.show(state.received);
    for (let lost = 0; state.state === "receiving" && !this.cancelled; ) {
      try {
        state = lost ? await ask(urls.state) : await this.sendNext(state, urls.chunk);
        lost = 0;
        this.show(state.received);
        if (state.cancelled) return;
      } catch (error) {
        if (error instanceof Refused && error.code !== "upload_chunk_refused" && error.code !== "upload_cut") throw error;
        if (!(error instanceof Refused || error instanceof TypeError)) throw error;
        this.bar.querySelector("[data-left]").textContent = this.form.dataset.lost;
        await wait(RETRY_MILLISECONDS[Math.min(lost, RETRY_MILLISECONDS.length - 1)]);
        lost += 1;
      }
    }
    this.finished = true;
    if (!this.cancelled) location.assign(this.form.dataset.done);
  }

  async sendNext(state, url) {
    const next = this.files.find(({ path, file }) => state.received[path] < file.size);
    const offset = state.received[next.path];
    const piece = await next.file.slice(offset, offset + Number(this.form.dataset.chunkBytes)).arrayBuffer().catch(() => {
      throw new Refused({ code: "unreadable", message: this.form.dataset.broken });
    });
    const query = new URLSearchParams({ path: next.path, offset });
    return ask(`${url}?${query}`, { method: "POST", body: piece, headers: { "Content-Type": "application/octet-stream" } });
  }
}

function fail(form, message) {
  const error = form.querySelector(".error[role]");
  form.querySelector(".sending").hidden = true;
  error.textContent = message;
  error.hidden = false;
  ready(form, true);
}

function ready(form, is) {
  form.querySelector("[data-start]").disabled = !is;
  const cancel = form.querySelector("[data-cancel]");
  if (cancel) cancel.hidden = is;
  if (is) delete form.dataset.sent;
  sending = is ? null : sending;
}

async function send(form, files, begun) {
  form.querySelector(".error[role]").hidden = true;
  sending = new Sending(form, files);
  ready(form, false);
  try {
    const state = await begun();
    const place = `/models/uploads/${state.id}`;
    sending.id = state.id;
    await sending.run(state, { state: `${place}.json`, chunk: `${place}/chunk` });
  } catch (error) {
    if (error.code === "model_larger_than_memory") form.querySelector("[data-too-large]").hidden = false;
    fail(form, error instanceof Refused ? error.message : form.dataset.lost);
  }
}

/** The first GGUF file that does not begin as one: hours of sending would end in a refusal. */
async function falseGguf(files) {
  for (const { file, path } of files.filter((each) => each.path.endsWith(".gguf"))) {
    if ((await file.slice(0, 4).text().catch(() => "GGUF")) !== "GGUF") return path;
  }
  return undefined;
}

async function beginNew(form) {
  const what = form.elements.what.value;
  const input = form.querySelector(`[data-what="${what}"] input[type="file"]`);
  const files = chosen(input);
  if (!files.length) return fail(form, input.files.length ? form.dataset.nothing : form.dataset.empty);
  ready(form, false);
  const wrong = await falseGguf(files);
  if (wrong) return fail(form, form.dataset.noGguf.replace("{file}", wrong));
  const sha256 = what === "file" && files.length === 1 ? form.elements.sha256.value.trim().toLowerCase() : "";
  const order = {
    name: form.elements.name.value,
    entry: form.elements.entry.value,
    licence_accepted: form.elements.accepted.checked,
    even_if_too_large: form.elements.even_if_too_large.checked,
    ...(form.elements.weights && { weights: form.elements.weights.value }),
    files: files.map(({ file, path }) => ({ path, size_bytes: file.size, ...(sha256 && { sha256 }) })),
  };
  return send(form, files, () => ask(form.dataset.begin, { method: "POST", body: JSON.stringify(order), headers: { "Content-Type": "application/json" } }));
}

function resume(form) {
  const wanted = JSON.parse(form.dataset.files);
  const found = chosen(form.querySelector('input[type="file"]'));
  const files = wanted.map(({ path, size_bytes: bytes }) => found.find((each) => each.path === path && each.file.size === bytes));
  if (files.some((file) => !file)) return fail(form, form.dataset.other);
  return send(form, files, () => ask(form.dataset.resume));
}

for (const form of document.querySelectorAll("[data-begin], [data-resume]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.dataset.begin) beginNew(form);
    else resume(form);
  });
}

const form = document.querySelector("[data-begin]");
form.querySelector("[data-start]").disabled = false;

for (const radio of form.querySelectorAll('[name="what"]')) {
  radio.addEventListener("change", () => {
    for (const part of form.querySelectorAll("[data-what]")) part.hidden = part.dataset.what !== form.elements.what.value;
  });
}

// the file's name is a good first name for the model, until an admin gives it another
let suggested = "";
for (const input of form.querySelectorAll('input[type="file"]')) {
  input.addEventListener("change", () => {
    const first = input.files[0];
    if (!first || form.elements.name.value !== suggested) return;
    const name = first.webkitRelativePath ? first.webkitRelativePath.split("/")[0] : first.name.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "");
    suggested = name.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+/, "").slice(0, 64);
    form.elements.name.value = suggested;
  });
}

form.querySelector("[data-cancel]").addEventListener("click", async () => {
  const { id } = sending ?? {};
  if (sending) sending.cancelled = true;
  if (id) await fetch(`/models/gets/${id}/cancel`, { method: "POST", headers: { "X-CSRFToken": token } }).catch(() => {});
  sending = null;
  location.reload();
});

addEventListener("beforeunload", (event) => {
  if (sending && !sending.cancelled && !sending.finished) event.preventDefault();
});

// The page: what is dropped, chosen or recorded becomes a card; two at a time are transcribed.

import { Card } from "./card.js";
import { clock, element } from "./elements.js";
import { explained, obstacle, record } from "./microphone.js";
import { inventory, key, models } from "./server.js";
import { fill, words } from "./words.js";

const AT_ONCE = 2; // as many as the server computes side by side where it has the cores
const SPEAKERS = "gpt-4o-transcribe-diarize"; // the server names it where it tells speakers apart

const at = (id) => document.getElementById(id);

// --- which server this is ------------------------------------------------------------------------

const ask = () => Promise.all([inventory(), models()]);

let beginning = null;
let shown = null;

/** Ask until the server says what it is; once, however many want to know. */
function begin() {
  beginning ??= untilItAnswers().finally(() => (beginning = null));
  return beginning;
}

async function untilItAnswers() {
  shown = null;
  at("standing").textContent = words.standing.asking;
  delete at("standing").dataset.state;
  for (;;) {
    try {
      show(...(await ask()));
      return;
    } catch (error) {
      if (error.status === 401) {
        at("standing").textContent = "";
        await askForKey(key.get() !== null);
      } else {
        const loading = error.status === 503;
        at("standing").textContent = loading ? words.standing.loading : words.standing.gone;
        await new Promise((resolve) => setTimeout(resolve, loading ? 1000 : 5000));
      }
    }
  }
}

/** Another bundle may have been mounted since, and what is shown would be true no more. */
async function refresh() {
  try {
    show(...(await ask()));
  } catch {
    await begin();
  }
}

function show(...answer) {
  const told = JSON.stringify(answer);
  if (told !== shown) showAll(...answer);
  shown = told;
}

function showAll(found, names) {
  const { offline } = found.network;
  at("standing").textContent = offline ? words.standing.offline : words.standing.online;
  at("standing").dataset.state = offline ? "done" : "warned";
  showProof(found);
  showOptions(found, names);
  at("forget").hidden = key.get() === null;
  at("intake").hidden = false;
}

function showProof({ verdict, serving, network }) {
  const facts = [
    [words.proof.bundle, words.proof.bundleIs(verdict.bundle, verdict.generation)],
    [words.proof.models, serving.join(", ")],
    [words.proof.signers, verdict.signers.join(", ")],
    [words.proof.code, verdict.approval_code],
    [words.proof.mounted, verdict.mounted],
    [
      words.proof.network,
      network.offline
        ? `${network.mechanisms.join(", ")}; ${words.proof.tried(network.escapes_tried)}`
        : words.proof.none,
    ],
  ];
  const rows = facts.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value)),
  );
  at("proof").querySelector("dl").replaceChildren(...rows);
  at("proof").hidden = false;
}

function showOptions({ serving, languages }, names) {
  const [first, ...others] = serving;
  const choices = [
    ["whisper-1", first],
    ["whisper-1-fast", words.options.quick(first)],
    ["whisper-1-quality", words.options.careful(first)],
    ...others.map((name) => [name, name]),
  ];
  offer(at("model"), choices);
  at("model").onchange = () => showLanguages(languages[at("model").value] ?? languages[first]);
  at("model").onchange();
  at("speaking").hidden = !names.includes(SPEAKERS);
  at("speakers").onchange = () => (at("number").disabled = !at("speakers").checked);
}

function showLanguages(codes) {
  const names = new Intl.DisplayNames("en", { type: "language" });
  const known = codes.map((code) => [code, names.of(code)]);
  known.sort(([, one], [, other]) => one.localeCompare(other, "en"));
  const detect = codes.length > 1 ? [["", words.options.detect]] : [];
  offer(at("language"), [...detect, ...known]);
}

/** What there is to choose from; what was chosen stays, where it is there still. */
function offer(field, choices) {
  const before = field.value;
  field.replaceChildren(...choices.map(([value, text]) => element("option", { value }, text)));
  if (choices.some(([value]) => value === before)) field.value = before;
}

// --- the key -------------------------------------------------------------------------------------

let asking = null;

/** Ask for a key, once however many want it; `wrong` where the last one was. */
function askForKey(wrong) {
  asking ??= new Promise((resolve) => {
    at("key-error").textContent = wrong ? words.key.wrong : "";
    at("key").hidden = false;
    at("key-input").value = "";
    at("key-input").focus();
    at("key").onsubmit = (event) => {
      event.preventDefault();
      const given = at("key-input").value.trim();
      if (!/^[\x21-\x7e]+$/.test(given)) {
        at("key-error").textContent = words.key.wrong; // nor would a header hold it
        return;
      }
      key.set(given);
      at("key").hidden = true;
      asking = null;
      resolve();
    };
  });
  return asking;
}

at("forget").onclick = () => {
  key.forget();
  location.reload();
};

// --- recordings ----------------------------------------------------------------------------------

const cards = new Set();
const waiting = [];
let working = 0;

const house = {
  key: () => askForKey(true),
  answers: refresh,
  again: (card) => queue(card),
  removed: (card) => cards.delete(card),
};

function add(file, recorded = false) {
  const card = new Card(file, wishes(), recorded, house);
  cards.add(card);
  at("cards").prepend(card.article);
  queue(card);
}

function queue(card) {
  if (!waiting.includes(card)) waiting.push(card); // stopped before its turn, and wanted again
  next();
}

async function next() {
  if (working >= AT_ONCE || !waiting.length) return;
  working += 1;
  await waiting.shift().run();
  working -= 1;
  next();
}

/** The fields of the form that the options ask for. */
function wishes() {
  const asked = { model: at("model").value };
  if (at("language").value) asked.language = at("language").value;
  if (!at("speaking").hidden && at("speakers").checked) {
    asked.diarize = "true";
    if (at("number").value) asked.num_speakers = at("number").value;
  }
  return asked;
}

at("proof").ontoggle = () => at("proof").open && refresh();

at("choose").onclick = () => at("files").click();
at("files").onchange = () => {
  for (const file of at("files").files) add(file);
  at("files").value = ""; // or the same file could not be chosen twice
};

// A recording that misses the field must not replace the page.
for (const kind of ["dragover", "drop"]) {
  addEventListener(kind, (event) => event.preventDefault());
}
addEventListener("dragover", () => at("drop").classList.add("over"));
for (const kind of ["dragleave", "drop"]) {
  addEventListener(kind, () => at("drop").classList.remove("over"));
}
addEventListener("drop", (event) => {
  if (at("intake").hidden) return;
  for (const item of event.dataTransfer.items) {
    const entry = item.webkitGetAsEntry();
    if (entry?.isDirectory) at("record-note").textContent = words.intake.folder(entry.name);
    else if (item.kind === "file") add(item.getAsFile());
  }
});

// One at a time is heard.
document.addEventListener(
  "play",
  (event) => {
    for (const player of document.querySelectorAll("audio")) {
      if (player !== event.target) player.pause();
    }
  },
  true,
);

addEventListener("beforeunload", (event) => {
  if (stopRecording || [...cards].some((card) => card.precious)) event.preventDefault();
});

// --- the microphone ------------------------------------------------------------------------------

let stopRecording = null;

function offerMicrophone() {
  const why = obstacle();
  at("record").setAttribute("aria-disabled", String(why !== null));
  at("record-note").textContent = why ?? "";
  if (why === null) at("record").onclick = toggleRecording;
}

async function toggleRecording() {
  if (stopRecording) {
    const stop = stopRecording;
    stopRecording = null;
    add(await stop(), true);
    return;
  }
  let stop;
  at("record").disabled = true; // until the browser has asked
  try {
    stop = await record();
  } catch (error) {
    at("record-note").textContent = explained(error);
    return;
  } finally {
    at("record").disabled = false;
  }
  stopRecording = stop;
  at("record-note").textContent = words.microphone.on;
  at("record").classList.add("on");
  at("record").focus();
  const started = performance.now();
  while (stopRecording) {
    at("record").textContent = words.microphone.stop(clock((performance.now() - started) / 1000));
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  at("record").textContent = words.microphone.record;
  at("record").classList.remove("on");
  at("record-note").textContent = "";
}

fill(document);
offerMicrophone();
await begin();

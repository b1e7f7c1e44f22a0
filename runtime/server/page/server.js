// The server, by the API that everyone uses.

import { words } from "./words.js";

const KEPT = "airgap-key";

/** The API key: in this tab alone, until it is closed. */
export const key = {
  get: () => sessionStorage.getItem(KEPT),
  set: (value) => sessionStorage.setItem(KEPT, value),
  forget: () => sessionStorage.removeItem(KEPT),
};

/** What the server refused, or could not do. `status` is 0 where it did not answer. */
export class RefusedError extends Error {
  constructor(message, status, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = Number(retryAfter) || null;
  }
}

/** What is served, by whom it was signed, and what keeps the process offline. */
export const inventory = () => get("v1/inventory");

/** Every name of a model. */
export const models = async () => (await get("v1/models")).data.map((one) => one.id);

async function get(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: authorization() });
  } catch {
    throw new RefusedError(words.server.silent, 0);
  }
  const text = await answer.text();
  if (!answer.ok) throw refusal(answer.status, text, answer.headers.get("Retry-After"));
  return JSON.parse(text);
}

/**
 * Have a recording transcribed.
 *
 * `fields` go into the form; `tell` hears of { type: "sent", part } from 0 to 1, then of the
 * events of the stream but the last. Resolves with that, `done`, and the number of `damaged`
 * packets. An XMLHttpRequest, because fetch does not say how much of a body is sent.
 */
export function transcribe(recording, fields, tell, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("response_format", "verbose_json");
  form.append("stream", "true");
  form.append("file", recording, recording.name);
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    const events = reader(request, tell);
    request.upload.onprogress = (sent) => tell({ type: "sent", part: sent.loaded / sent.total });
    request.onprogress = () => events.read();
    request.onload = () => {
      if (request.status !== 200) {
        const later = request.getResponseHeader("Retry-After");
        return reject(refusal(request.status, request.responseText, later));
      }
      events.read();
      if (events.error) return reject(new RefusedError(events.error, 500));
      if (!events.done) return reject(new RefusedError(words.server.broken, 0));
      const damaged = Number(request.getResponseHeader("X-Airgap-Damaged-Packets") ?? 0);
      return resolve({ damaged, done: events.done });
    };
    request.onerror = () => {
      const begun = request.status === 200;
      reject(new RefusedError(begun ? words.server.broken : words.server.silent, 0));
    };
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", "v1/audio/transcriptions");
    for (const [name, value] of Object.entries(authorization())) {
      request.setRequestHeader(name, value);
    }
    request.send(form);
  });
}

/** Reads server-sent events, each whole, as they come. */
function reader(request, tell) {
  let read = 0;
  return {
    done: null,
    error: null,
    read() {
      if (request.status !== 200) return;
      const text = request.responseText;
      for (let end; (end = text.indexOf("\n\n", read)) >= 0; read = end + 2) {
        const event = JSON.parse(text.slice(read + "data: ".length, end));
        if (event.error) this.error = event.error.message;
        else if (event.type === "transcript.text.done") this.done = event;
        else tell(event);
      }
    },
  };
}

function authorization() {
  const value = key.get();
  return value ? { Authorization: `Bearer ${value}` } : {};
}

/** The server's own words; a proxy before it may not have used its form. */
function refusal(status, text, later) {
  let message;
  try {
    message = JSON.parse(text).error.message;
  } catch {
    message = words.server.odd(status);
  }
  return new RefusedError(message, status, later);
}

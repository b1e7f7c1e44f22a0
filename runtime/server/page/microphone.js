// A recording by the microphone, as the browser encodes it.

import { words } from "./words.js";

/** Why there is no recording here; null where there can be. */
export function obstacle() {
  if (!window.isSecureContext) return words.microphone.insecure;
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) return words.microphone.absent;
  return null;
}

/** Start; resolves with a function that stops, and resolves with the file. */
export async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  const started = new Date();
  recorder.start();
  return async () => {
    if (recorder.state !== "inactive") recorder.stop(); // the browser stops it with its device
    await stopped;
    for (const track of stream.getTracks()) track.stop();
    return new File(pieces, fileName(started, recorder.mimeType), { type: recorder.mimeType });
  };
}

/** What to tell a person of an error of `record`. */
export function explained(error) {
  if (error.name === "NotAllowedError") return words.microphone.refused;
  if (error.name === "NotFoundError") return words.microphone.missing;
  return words.microphone.failed(error.message);
}

function fileName(moment, kind) {
  const local = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
  const when = local.toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".");
  const ending = /^\w+\/(\w+)/.exec(kind)?.[1] ?? "webm";
  return `${words.microphone.name(when)}.${ending}`;
}

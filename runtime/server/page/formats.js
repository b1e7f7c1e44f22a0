// A transcript as a file, byte for byte as the server writes it, with what was mended.
//
// A transcript: { begun, lines, done }; `begun` is the event transcript.begun, a line the event
// transcript.segment, with `text` as mended and `corrected` where it was, `done` the event
// transcript.text.done.

const BREAKS = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/;

const named = (line) => (line.speaker ? `${line.speaker}: ` : "");

/** Lines that say something, each in one line: a blank one would end a cue. */
function spoken(lines) {
  return lines
    .map((line) => {
      const parts = line.text.split(BREAKS).map((part) => part.trim());
      return { ...line, text: parts.filter(Boolean).join(" ") };
    })
    .filter((line) => line.text);
}

function time(milliseconds, mark) {
  const two = (number) => String(number).padStart(2, "0");
  const seconds = Math.floor(milliseconds / 1000);
  const rest = String(milliseconds % 1000).padStart(3, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return `${two(hours)}:${two(minutes)}:${two(seconds % 60)}${mark}${rest}`;
}

/** From when to when; a cue lasts a millisecond at least. */
function span(line, mark) {
  const start = Math.round(line.start * 1000);
  const end = Math.max(Math.round(line.end * 1000), start + 1);
  return `${time(start, mark)} --> ${time(end, mark)}`;
}

const escaped = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function txt({ lines }) {
  return spoken(lines)
    .map((line) => `${named(line)}${line.text}\n`)
    .join("");
}

function srt({ lines }) {
  const cue = (line, place) =>
    `${place + 1}\n${span(line, ",")}\n${named(line)}${line.text.replaceAll("-->", "->")}\n\n`;
  return spoken(lines).map(cue).join("");
}

function vtt({ lines }) {
  const known = (line) => line.speaker && line.speaker !== "UNKNOWN";
  const voice = (line) => (known(line) ? `<v ${line.speaker}>` : "");
  const cue = (line) => `${span(line, ".")}\n${voice(line)}${escaped(line.text)}\n\n`;
  return `WEBVTT\n\n${spoken(lines).map(cue).join("")}`;
}

/** `verbose_json`, with the model and the bundle. */
function json({ begun, lines }) {
  const { type: _begun, ...facts } = begun;
  const text = lines.map((line) => line.text).join("");
  const segments = lines.map(({ type: _segment, ...segment }) => segment);
  const usage = { type: "duration", seconds: facts.duration };
  return `${JSON.stringify({ ...facts, text: text.trim(), segments, usage }, null, 2)}\n`;
}

/** What the host has signed, as it came: nothing that was mended. */
const attested = ({ done }) => `${JSON.stringify(done, null, 2)}\n`;

/** By the ending of their files: how to write one, what it is, and whether it lacks what was mended. */
export const formats = {
  txt: { write: txt, kind: "text/plain" },
  srt: { write: srt, kind: "application/x-subrip" },
  vtt: { write: vtt, kind: "text/vtt" },
  json: { write: json, kind: "application/json" },
  "attested.json": { write: attested, kind: "application/json", asHeard: true },
};

/** Of which of them there is a file, by the event that ended the answer. */
export const endings = ({ attestation }) =>
  Object.keys(formats).filter((one) => one !== "attested.json" || attestation);

// Every word that a person reads on the page. A function takes what varies.

const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

export const words = {
  page: "Transcription · airgap",
  title: "Transcription",

  standing: {
    asking: "Asking the server…",
    loading: "The model is being loaded…",
    gone: "The server does not answer. Trying again…",
    offline: "Offline: this server has no network",
    online: "Not offline: this server was started with --allow-network",
  },

  proof: {
    title: "What answers, and how it is kept offline",
    bundle: "Bundle",
    bundleIs: (bundle, generation) => `${bundle}, generation ${generation}`,
    models: "Models",
    signers: "Signed by",
    code: "Approval code",
    mounted: "Mounted",
    network: "Network",
    tried: (count) => `${plural(count, "way", "ways")} out tried, none worked`,
    none: "nothing keeps this process from a network",
  },

  key: {
    title: "This server asks for a key",
    about:
      "An API key, from whoever runs the server (airgap apikey add NAME). It stays in this tab, and is forgotten when the tab is closed.",
    label: "API key",
    use: "Use it",
    wrong: "The server does not know this key.",
    forget: "Forget the key",
  },

  intake: {
    title: "Drop recordings here",
    choose: "Choose files…",
    folder: (name) => `“${name}” is a folder: drop the recordings that are in it.`,
  },

  microphone: {
    record: "Record",
    stop: (time) => `Stop, ${time}`,
    insecure:
      "To record, the browser wants a page that came by https, or from this very computer: the server needs --tls-cert and --tls-key.",
    absent: "This browser cannot record.",
    refused: "The browser was told to keep the microphone: allow it beside the address, then record again.",
    missing: "No microphone was found.",
    failed: (why) => `The microphone does not work: ${why}`,
    on: "Recording. Nothing is sent before you stop.",
    name: (moment) => `recording ${moment}`,
  },

  options: {
    title: "For the recordings that follow",
    language: "Language",
    detect: "as spoken",
    model: "Model",
    quick: (model) => `${model}, quickest`,
    careful: (model) => `${model}, most careful`,
    speakers: "Say who speaks",
    number: "How many, if known",
  },

  cards: {
    title: "Recordings",
    waiting: "Waiting for its turn",
    sending: "Sending",
    hearing: "Listening",
    busy: (message) => `${message}. Trying again…`,
    key: "Waiting for a key",
    done: (lines) => `Finished: ${plural(lines, "line", "lines")}`,
    silent: "Finished: nobody speaks in this recording.",
    stopped: "Stopped.",
    failed: (message) => `${message}.`,
    damaged: (packets) =>
      `${plural(packets, "piece", "pieces")} of the recording could not be read: what was said there is missing.`,
    part: (done, all) => `${done} of ${all}`,
    progress: (name) => `Progress of ${name}`,
    by: (model, bundle) => `${model} from ${bundle}`,
    player: (name) => `Play ${name}`,
    mute: "This browser cannot play a recording of this kind; the text is not affected.",
    format: "As",
    copy: "Copy",
    copied: "Copied.",
    uncopied: "The browser refused to copy: download it instead.",
    download: "Download",
    save: "Save the recording",
    stop: "Stop",
    again: "Try again",
    remove: "Remove",
    about: (action, name) => `${action}: ${name}`,
    lines: (name) => `Text of ${name}`,
  },

  line: {
    play: (time) => `Play from ${time}`,
    fix: "Fix",
    fixAt: (time) => `Fix the text at ${time}`,
    text: (time) => `Text at ${time}; Enter keeps it, Escape undoes`,
    fixed: "mended by hand",
  },

  server: {
    broken: "The connection was lost before the end",
    silent: "The server does not answer",
    odd: (status) => `The server answered ${status}`,
  },

  footer: {
    kept: "Recordings and texts are in this tab alone: the server keeps neither.",
    docs: "The API, for programs.",
  },
};

/** Put words where the page names them. */
export function fill(page) {
  for (const one of page.querySelectorAll("[data-word]")) one.textContent = named(one.dataset.word);
  for (const one of page.querySelectorAll("[data-label]")) {
    one.setAttribute("aria-label", named(one.dataset.label));
  }
}

function named(path) {
  return path.split(".").reduce((found, name) => found[name], words);
}

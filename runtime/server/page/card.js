// One recording on the page: how far it is, what was said in it, its player and its files.

import { clock, download, element } from "./elements.js";
import { endings, formats } from "./formats.js";
import { Lines } from "./lines.js";
import { RefusedError, transcribe } from "./server.js";
import { words } from "./words.js";

const PATIENCE = 5; // seconds, where the server does not say when to come again

let numbers = 0;

/**
 * `house` has `key(refused)`, resolved with a key, `answers()`, told whenever the server begins to
 * answer, `again(card)` and `removed(card)`.
 */
export class Card {
  constructor(file, fields, recorded, house) {
    this.file = file;
    this.fields = fields;
    this.house = house;
    this.unsavedSound = recorded;
    this.unsavedText = false;
    this.#build(recorded);
    this.#reset();
  }

  /** Whether closing the tab would lose what cannot be had again. */
  get precious() {
    return this.unsavedSound || this.unsavedText || this.working;
  }

  /** Have it transcribed, however often the server asks to come again. */
  async run() {
    const { signal } = this.stopping;
    if (signal.aborted) return;
    this.working = true;
    try {
      while (!(await this.#attempt(signal))) this.#clear();
    } catch (error) {
      if (!signal.aborted) this.#end(words.cards.failed(error.message), "failed");
    } finally {
      this.working = false;
    }
  }

  /** One attempt; whether there need not be another. */
  async #attempt(signal) {
    try {
      const told = (event) => this.#hear(event);
      this.#finish(await transcribe(this.file, this.fields, told, signal));
      return true;
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      if (error.status === 401) {
        this.#tell(words.cards.key);
        await this.house.key();
      } else if (error.status === 429 || error.status === 503) {
        this.#tell(words.cards.busy(error.message));
        await pause(error.retryAfter ?? PATIENCE, signal);
      } else {
        throw error;
      }
      signal.throwIfAborted();
      return false;
    }
  }

  #hear(event) {
    if (event.type === "sent") {
      this.#tell(event.part < 1 ? words.cards.sending : words.cards.hearing);
      if (event.part < 1) this.bar.value = event.part;
      else this.bar.removeAttribute("value");
    } else if (event.type === "transcript.begun") {
      this.begun = event;
      this.house.answers();
      this.#tell(words.cards.hearing);
      this.bar.max = event.duration;
      this.#heardUntil(0);
      this.facts.textContent = [
        clock(event.duration),
        event.language && event.language[0].toUpperCase() + event.language.slice(1),
        words.cards.by(event.model, event.bundle),
      ]
        .filter(Boolean)
        .join(" · ");
    } else if (event.type === "transcript.segment") {
      this.#heardUntil(event.end);
      this.lines.add(event);
      this.body.hidden = false;
    }
  }

  #heardUntil(seconds) {
    this.bar.value = seconds;
    this.part.textContent = words.cards.part(clock(seconds), clock(this.begun.duration));
  }

  #finish({ damaged, done }) {
    this.done = done;
    this.format.replaceChildren(...endings(done).map((one) => element("option", {}, one)));
    const count = this.lines.all.length;
    const warning = damaged ? ` ${words.cards.damaged(damaged)}` : "";
    const said = count ? words.cards.done(count) : words.cards.silent;
    this.#end(`${said}${warning}`, damaged ? "warned" : "done");
    this.files.hidden = !count;
  }

  #stop() {
    this.stopping.abort();
    this.#end(words.cards.stopped, "failed");
  }

  #end(text, how) {
    this.#tell(text);
    this.article.dataset.state = how;
    this.progress.hidden = true;
    this.stopButton.hidden = true;
    this.removeButton.hidden = false;
    this.againButton.hidden = how !== "failed";
  }

  #tell(text) {
    if (this.state.textContent !== text) this.state.textContent = text;
  }

  /** Ready to be heard, for the first time or again. */
  #reset() {
    this.stopping = new AbortController();
    this.article.dataset.state = "working";
    this.stopButton.hidden = false;
    this.removeButton.hidden = true;
    this.againButton.hidden = true;
    this.#tell(words.cards.waiting);
    this.#clear();
  }

  /** Without what an attempt that was not finished has left. */
  #clear() {
    this.begun = null;
    this.facts.textContent = "";
    this.part.textContent = "";
    this.progress.hidden = false;
    this.bar.max = 1;
    this.bar.removeAttribute("value");
    const play = (seconds) => this.#play(seconds);
    const lines = new Lines(this.file.name, play, () => (this.unsavedText = true));
    this.body.querySelector("ol").replaceWith(lines.list);
    this.lines = lines;
    this.body.hidden = true;
    this.files.hidden = true;
  }

  #play(seconds) {
    if (this.player.error) return;
    this.player.currentTime = seconds;
    this.player.play().catch(() => {}); // what it cannot play, its own event says
  }

  #remove() {
    URL.revokeObjectURL(this.player.src);
    this.article.remove();
    this.house.removed(this);
  }

  #again() {
    this.#reset();
    this.house.again(this);
  }

  get #transcript() {
    return { begun: this.begun, lines: this.lines.all, done: this.done };
  }

  async #copy() {
    const copied = await copy(formats[this.format.value].write(this.#transcript));
    this.#tell(copied ? words.cards.copied : words.cards.uncopied);
  }

  #download() {
    const { write, kind, asHeard } = formats[this.format.value];
    const name = this.file.name.replace(/\.[^.]*$/, "") || this.file.name;
    const file = new Blob([write(this.#transcript)], { type: `${kind};charset=utf-8` });
    download(file, `${name}.${this.format.value}`);
    if (!asHeard) this.unsavedText = false;
  }

  #save() {
    download(this.file, this.file.name);
    this.unsavedSound = false;
  }

  #build(recorded) {
    const { name } = this.file;
    const id = `card-${(numbers += 1)}`;
    const button = (action, done) => {
      const made = element("button", { type: "button", onclick: done }, action);
      made.setAttribute("aria-label", words.cards.about(action, name));
      return made;
    };
    this.state = element("p", { className: "state", role: "status" });
    this.facts = element("p", { className: "facts" });
    this.bar = element("progress", { "aria-label": words.cards.progress(name) });
    this.part = element("span", { className: "part" });
    this.progress = element("div", { className: "progress" }, this.bar, this.part);
    this.stopButton = button(words.cards.stop, () => this.#stop());
    this.againButton = button(words.cards.again, () => this.#again());
    this.removeButton = button(words.cards.remove, () => this.#remove());

    this.player = element("audio", {
      controls: true,
      preload: "metadata",
      src: URL.createObjectURL(this.file),
      "aria-label": words.cards.player(name),
    });
    const mute = element("p", { className: "note", hidden: true }, words.cards.mute);
    this.player.onerror = () => {
      this.player.hidden = true;
      mute.hidden = false;
    };
    this.player.ontimeupdate = () => this.lines.show(this.player.currentTime);

    this.format = element("select");
    this.format.setAttribute("aria-label", words.cards.about(words.cards.format, name));
    this.files = element(
      "span",
      { className: "row" },
      this.format,
      button(words.cards.copy, () => this.#copy()),
      button(words.cards.download, () => this.#download()),
    );
    const save = button(words.cards.save, () => this.#save());
    save.hidden = !recorded;
    const actions = [this.files, save, this.stopButton, this.againButton, this.removeButton];

    this.body = element("div", { className: "body" });
    this.article = element(
      "article",
      { className: "card" },
      element("h2", { id }, name),
      this.facts,
      this.state,
      this.progress,
      element("div", { className: "row actions" }, ...actions),
      this.body,
    );
    this.article.setAttribute("aria-labelledby", id);
    this.body.append(this.player, mute, element("ol"));
  }
}

function pause(seconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", resolve);
  });
}

/** Copy; whether it did. Over plain http there is only the older way. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = element("textarea", { value: text, className: "away" });
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}

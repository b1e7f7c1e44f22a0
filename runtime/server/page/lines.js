// The lines of a transcript: each plays from its time, and its text can be mended.

import { clock, element } from "./elements.js";
import { words } from "./words.js";

/** A list of lines. `play(seconds)` lets a recording be heard; `mended()` is told of each fix. */
export class Lines {
  constructor(name, play, mended) {
    this.list = element("ol", { className: "lines", "aria-label": words.cards.lines(name) });
    this.all = [];
    this.play = play;
    this.mended = mended;
    this.heard = null;
    this.list.addEventListener("keydown", (event) => this.#step(event));
  }

  /** Add the segment of an event. */
  add(segment) {
    const before = this.all.at(-1);
    const line = { ...segment };
    const when = clock(line.start);
    const time = element("button", { type: "button", className: "time plain" }, when);
    time.setAttribute("aria-label", words.line.play(when));
    const said = element("span", { className: "said" }, line.text.trim());
    const fix = element("button", { type: "button", className: "fix plain" }, words.line.fix);
    fix.setAttribute("aria-label", words.line.fixAt(when));
    const text = element("div", { className: "text" }, said);
    const item = element("li", {}, time, text, fix);
    if (line.speaker && line.speaker !== before?.speaker) {
      text.prepend(element("span", { className: "speaker" }, line.speaker));
      item.classList.add("change");
    }
    time.onclick = () => this.play(line.start);
    said.onclick = () => getSelection().isCollapsed && this.play(line.start); // not while selecting
    fix.onclick = () => this.#fix(line, text, said, fix);
    this.all.push(line);
    this.list.append(item);
  }

  /** Show which line is heard at this second. */
  show(seconds) {
    const place = this.all.findIndex((line) => line.start <= seconds && seconds < line.end);
    const item = this.list.children[place];
    if (item === this.heard) return;
    this.heard?.removeAttribute("aria-current");
    item?.setAttribute("aria-current", "true");
    this.heard = item;
  }

  /** Arrow keys go from line to line, on the same button. */
  #step(event) {
    const direction = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const button = event.target.closest("button");
    if (!direction || !button) return;
    const kind = button.classList[0];
    const other = button.closest("li")[direction]?.querySelector(`.${kind}`);
    if (!other) return;
    event.preventDefault();
    other.focus();
  }

  #fix(line, text, said, fix) {
    const field = element("textarea", { value: said.textContent, rows: 1, spellcheck: true });
    field.setAttribute("aria-label", words.line.text(clock(line.start)));
    const fit = () => {
      field.rows = 1;
      while (field.scrollHeight > field.clientHeight + 2 && field.rows < 20) field.rows += 1;
    };
    const close = (keep) => {
      field.onblur = null;
      if (keep) this.#keep(line, text, said, field.value);
      field.replaceWith(said);
      fix.hidden = false;
    };
    field.oninput = fit;
    field.onblur = () => close(true);
    field.onkeydown = (event) => {
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      close(event.key === "Enter");
      fix.focus();
    };
    said.replaceWith(field);
    fix.hidden = true;
    fit();
    field.focus();
  }

  #keep(line, text, said, typed) {
    const mended = typed.trim().split(/\s+/).join(" ");
    if (mended === line.text.trim()) return;
    line.text = line.text.startsWith(" ") ? ` ${mended}` : mended;
    line.corrected = true;
    said.textContent = mended;
    if (!text.querySelector(".mended")) {
      text.append(element("span", { className: "mended" }, words.line.fixed));
    }
    this.mended();
  }
}

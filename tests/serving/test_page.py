"""The page, in a real browser against the real server: what a person does with it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.engine.formats import FORMATS
from runtime.engine.transcript import Segment, Transcript

pytestmark = pytest.mark.heavy

SAID = "ask not what your country can do for you"
DROP = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], name, { type: "audio/wav" }));
    return dropped;
}"""


@pytest.fixture
def tab(browser: Any, server: Any) -> Iterator[Any]:
    """The page of `server` in a tab of its own, which must not have complained at the end."""
    yield from opened(browser, server.url)


@pytest.fixture
def open_tab(browser: Any) -> Iterator[Any]:
    """Opens the page at an address, or with settings of the browser."""
    tabs: list[Any] = []

    def open_one(address: str, **settings: Any) -> Any:
        tabs.append(opened(browser, address, **settings))
        return next(tabs[-1])

    yield open_one
    for one in tabs:
        with pytest.raises(StopIteration):
            next(one)


def opened(browser: Any, address: str, **settings: Any) -> Iterator[Any]:
    context = browser.new_context(**settings)
    tab = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if refused(said.text) else None)
    tab.goto(address)
    yield tab
    context.close()
    assert wrong == []
    elsewhere = [one for one in asked if not one.startswith((f"{address}/", "blob:"))]
    assert elsewhere == []


def refused(said: str) -> bool:
    """What the browser says of the page itself; a status that the server answers is no such."""
    return "Content Security Policy" in said or "Trusted" in said or "Uncaught" in said


def choose(tab: Any, *files: Path | dict[str, Any]) -> None:
    """Choose files as soon as a person could: when the server has said what it is."""
    tab.locator("#choose").wait_for()
    tab.locator("#files").set_input_files([*files])


def transcribed(tab: Any, *files: Path | dict[str, Any], cards: int = 1) -> Any:
    """Choose files, and wait until the newest card has ended."""
    choose(tab, *files)
    tab.wait_for_function(
        "count => document.querySelectorAll('.card:not([data-state=working])').length >= count",
        arg=cards,
        timeout=300_000,
    )
    return tab.locator(".card").first


def asked_for(server: Any, path: str, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of a GET."""
    request = urllib.request.Request(f"{server.url}{path}", headers=headers)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def heard_by_api(server: Any, recording: Path, form: str) -> str:
    """The server's own file, asked for as the page asks where there is one language."""
    done = subprocess.run(
        [
            *("curl", "--silent", "--fail", f"{server.url}/v1/audio/transcriptions"),
            *("-F", f"file=@{recording}", "-F", "model=whisper-1", "-F", f"response_format={form}"),
            *("-F", "language=en"),
        ],
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


# --- what a person does ---------------------------------------------------------------------------


def test_a_dropped_recording_becomes_lines(tab: Any, jfk: Path) -> None:
    tab.locator("#intake").wait_for()
    content = base64.b64encode(jfk.read_bytes()).decode()
    dropped = tab.evaluate_handle(DROP, ["jfk.wav", content])
    tab.dispatch_event("#drop", "dragover", {"dataTransfer": dropped})
    assert tab.locator("#drop.over").count() == 1
    tab.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    card = tab.locator(".card[data-state=done]")
    card.wait_for(timeout=300_000)
    assert tab.locator("#drop.over").count() == 0
    assert card.locator("h2").inner_text() == "jfk.wav"
    assert card.locator(".facts").inner_text() == "0:11 · English · tiny.en from demo-1.0.0"
    assert SAID in " ".join(card.locator(".said").all_inner_texts())
    assert re.fullmatch(r"Finished: \d+ lines?", card.locator(".state").inner_text())


def test_several_files_become_a_card_each(tab: Any, jfk: Path) -> None:
    files = [
        {"name": f"{name}.wav", "mimeType": "audio/wav", "buffer": jfk.read_bytes()}
        for name in ("one", "two", "three")
    ]
    transcribed(tab, *files, cards=3)
    assert tab.locator(".card[data-state=done]").count() == 3
    assert set(tab.locator(".card h2").all_inner_texts()) == {"one.wav", "two.wav", "three.wav"}


def test_progress_is_told_in_seconds_of_audio(tab: Any, long_speech: Path) -> None:
    tab.locator("#intake").wait_for()
    tab.evaluate("""() => {
        window.told = [];
        new MutationObserver(() => {
            const part = document.querySelector(".part")?.textContent;
            const bar = document.querySelector("progress");
            if (part && part !== window.told.at(-1)?.part) {
                window.told.push({ part, value: bar.value, max: bar.max });
            }
        }).observe(document.body, { subtree: true, childList: true, characterData: true });
    }""")
    transcribed(tab, long_speech)
    told = tab.evaluate("window.told")
    assert told[0] == {"part": "0:00 of 0:33", "value": 0, "max": 33}
    values = [one["value"] for one in told]
    assert len(values) >= 2
    assert values[-1] > 0
    assert values == sorted(values)
    assert all(re.fullmatch(r"\d:\d\d of 0:33", one["part"]) for one in told)


def test_a_line_is_heard_from_its_time(tab: Any, long_speech: Path) -> None:
    card = transcribed(tab, long_speech)
    line = card.locator("li").nth(1)
    start = seconds(line.locator(".time").inner_text())
    assert start > 0
    for way in (".said", ".time"):
        tab.evaluate("document.querySelector('audio').pause()")
        line.locator(way).click()
        tab.wait_for_function("() => !document.querySelector('audio').paused")
        assert start <= tab.evaluate("document.querySelector('audio').currentTime") + 1
        tab.wait_for_function("() => document.querySelector('li[aria-current=true]') !== null")
        current = card.locator("li[aria-current=true] .time").inner_text()
        assert seconds(current) >= start


def test_a_word_is_fixed_and_every_file_says_so(tab: Any, jfk: Path) -> None:
    card = transcribed(tab, jfk)
    line = card.locator("li").first
    before = line.locator(".said").inner_text()
    line.hover()
    line.locator(".fix").click()
    field = line.locator("textarea")
    field.fill("something else")
    field.press("Escape")
    assert line.locator(".said").inner_text() == before
    assert line.locator(".mended").count() == 0

    line.locator(".fix").click()
    field.fill(f"{before.replace('Americans', 'Bavarians')} -->\n&")
    field.press("Enter")
    after = line.locator(".said").inner_text()
    assert after == f"{before.replace('Americans', 'Bavarians')} --> &"
    assert line.locator(".mended").inner_text() == "mended by hand"
    assert tab.evaluate("document.activeElement.className") == "fix plain"

    assert after in taken(tab, card, "txt")
    assert after.replace("-->", "->") in taken(tab, card, "srt")
    assert after.replace("-->", "--&gt;").replace(" &", " &amp;") in taken(tab, card, "vtt")
    document = json.loads(taken(tab, card, "json"))
    assert document["segments"][0]["text"].strip() == after
    assert document["segments"][0]["corrected"] is True
    assert after in document["text"]


def test_the_json_is_the_verbose_json_of_the_server(tab: Any, server: Any, jfk: Path) -> None:
    card = transcribed(tab, jfk)
    assert card.locator("select option").all_inner_texts() == ["txt", "srt", "vtt", "json"]
    document = json.loads(taken(tab, card, "json"))
    assert document.pop("model") == "tiny.en"
    assert document.pop("bundle") == "demo-1.0.0"
    assert document == json.loads(heard_by_api(server, jfk, "verbose_json"))


@pytest.mark.parametrize("speakers", [False, True])
def test_files_are_byte_for_byte_those_of_the_server(tab: Any, jfk: Path, speakers: bool) -> None:
    segments = [
        Segment(
            id=number,
            seek=0,
            start=start,
            end=end,
            text=text,
            words=(),
            tokens=(),
            avg_logprob=-0.2,
            compression_ratio=1.1,
            no_speech_prob=0.01,
            temperature=0.0,
            speaker=(None if number == 2 else f"SPEAKER_{number:02}") if speakers else None,
        )
        for number, (start, end, text) in enumerate(HARD, start=1)
    ]
    transcript = Transcript(
        model="tiny.en",
        task="transcribe",
        language="en",
        language_probability=1.0,
        duration=400_000.0,
        segments=tuple(segments),
        turns=() if speakers else None,
    )
    events = [
        segment(one.text, start=one.start, end=one.end)
        | ({"speaker": one.speaker or "UNKNOWN"} if speakers else {})
        for one in segments
    ]
    told(tab, BEGUN, *events, {"type": "transcript.text.done", "text": ""})
    card = transcribed(tab, jfk)
    for name, form in (("txt", "text"), ("srt", "srt"), ("vtt", "vtt")):
        assert taken(tab, card, name) == FORMATS[form].render(transcript)


def test_files_with_speakers_are_those_of_the_server(
    open_tab: Any, speaking_server: Any, jfk: Path
) -> None:
    tab = open_tab(speaking_server.url)
    card = transcribed(tab, jfk)
    assert card.locator(".speaker").all_inner_texts() == ["SPEAKER_00", "SPEAKER_01"]
    for name in ("txt", "srt", "vtt"):
        assert "SPEAKER_01" in taken(tab, card, name)
    labels = [one["speaker"] for one in json.loads(taken(tab, card, "json"))["segments"]]
    assert set(labels) == {"SPEAKER_00", "SPEAKER_01"}
    tab.locator("#speakers").uncheck()
    assert tab.locator("#number").is_disabled()
    assert transcribed(tab, jfk, cards=2).locator(".speaker").count() == 0


def test_the_text_is_copied(open_tab: Any, server: Any, jfk: Path) -> None:
    tab = open_tab(server.url, permissions=["clipboard-read", "clipboard-write"])
    card = transcribed(tab, jfk)
    card.get_by_role("button", name="Copy: jfk.wav").click()
    card.get_by_text("Copied.").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == taken(tab, card, "txt")


def test_the_microphone_is_recorded(open_tab: Any, server: Any) -> None:
    tab = open_tab(server.url, permissions=["microphone"])
    tab.get_by_role("button", name="Record").click()
    tab.get_by_role("button", name=re.compile(r"^Stop, 0:(1[1-9]|[2-5]\d)")).click(timeout=60_000)
    card = tab.locator(".card[data-state=done]")
    card.wait_for(timeout=300_000)
    assert "your country" in " ".join(card.locator(".said").all_inner_texts())
    assert card.locator("h2").inner_text().startswith("recording 20")
    line = card.locator("li").last
    line.locator(".time").click()
    tab.wait_for_function("() => !document.querySelector('audio').paused")
    with tab.expect_download() as kept:
        card.get_by_role("button", name="Save the recording").click()
    assert kept.value.suggested_filename.endswith(".webm")


def test_a_mended_text_is_not_lost_without_a_word(tab: Any, jfk: Path) -> None:
    card = transcribed(tab, jfk)
    card.locator("li").first.hover()
    card.locator(".fix").first.click()
    card.locator("textarea").fill("mended")
    card.locator("textarea").press("Enter")
    with tab.expect_event("dialog") as asked:
        tab.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    taken(tab, card, "txt")
    with tab.expect_event("close"):
        tab.close(run_before_unload=True)


def test_where_the_browser_forbids_it_the_button_says_why(
    open_tab: Any, server: Any, jfk: Path
) -> None:
    tab = open_tab(server.url.replace("127.0.0.1", "ward.test"))
    button = tab.get_by_role("button", name="Record")
    button.wait_for()
    assert button.get_attribute("aria-disabled") == "true"
    why = tab.locator(f"#{button.get_attribute('aria-describedby')}").inner_text()
    assert "--tls-cert and --tls-key" in why
    button.click(force=True)
    assert tab.locator("#record.on").count() == 0
    # Without https there is no clipboard either; copying has an older way.
    card = transcribed(tab, jfk)
    card.get_by_role("button", name="Copy: jfk.wav").click()
    card.get_by_text("Copied.").wait_for()


def test_what_answers_is_shown(tab: Any, server: Any, open_tab: Any, serve: Any) -> None:
    tab.locator("#intake").wait_for()
    assert tab.locator("#standing").inner_text() == "Offline: this server has no network"
    tab.get_by_text("What answers, and how it is kept offline").click()
    shown = tab.locator("#proof").inner_text()
    verdict = json.loads(asked_for(server, "/v1/inventory")[2])["verdict"]
    for told in ("demo-1.0.0, generation 1", "tiny.en", "alice", verdict["approval_code"]):
        assert told in shown
    assert "seccomp filter" in shown
    assert re.search(r"\d+ ways out tried, none worked", shown)

    reachable = serve("--allow-network").wait_until_ready()
    other = open_tab(reachable.url)
    other.locator("#intake").wait_for()
    told = other.locator("#standing").inner_text()
    assert told == "Not offline: this server was started with --allow-network"


def test_what_answers_is_shown_anew(
    demo_site: Any, own_site: Any, serve: Any, open_tab: Any, jfk: Path
) -> None:
    """A page that is open while another generation is mounted, and the next one."""
    server = serve().wait_until_ready()
    tab = open_tab(server.url)
    tab.locator("#intake").wait_for()
    tab.locator("#model").select_option("whisper-1-fast")

    def mount_again(times: int) -> None:
        mounted = own_site.place.airgap("mount", demo_site.bundle)
        assert mounted.code == 0, mounted.err
        server.wait_for(lambda: len(server.said("ready")) == times)

    mount_again(2)
    tab.locator("summary").click()
    tab.get_by_text("demo-1.0.0, generation 2").wait_for()
    mount_again(3)
    transcribed(tab, jfk)
    tab.get_by_text("demo-1.0.0, generation 3").wait_for()
    assert tab.locator("#model").input_value() == "whisper-1-fast"
    assert tab.locator("#standing").inner_text() == "Offline: this server has no network"

    server.stop()
    tab.locator("summary").click()
    tab.locator("summary").click()
    tab.get_by_text("The server does not answer. Trying again…").wait_for()
    assert tab.locator("#standing").get_attribute("data-state") is None


def test_what_the_host_signed_can_be_taken_away(
    own_site: Any, serve: Any, open_tab: Any, jfk: Path, tmp_path: Path
) -> None:
    tab = open_tab(serve("--attest").wait_until_ready().url)
    card = transcribed(tab, jfk)
    card.locator("li").first.hover()
    card.locator(".fix").first.click()
    card.locator("textarea").fill("mended")
    card.locator("textarea").press("Enter")
    path = tmp_path / "jfk.attested.json"
    path.write_text(taken(tab, card, "attested.json"))
    said = own_site.place.airgap("verify", "--response", path, "--audio", jfk)
    assert said.code == 0, said.err
    assert SAID in json.loads(path.read_text())["text"]
    with tab.expect_event("dialog") as asked:  # what was mended is not in that file
        tab.close(run_before_unload=True)
    asked.value.dismiss()


def test_a_language_can_be_named(open_tab: Any, multilingual_site: Any, jfk: Path) -> None:
    server = multilingual_site.serve().wait_until_ready()
    try:
        tab = open_tab(server.url)
        tab.locator("#intake").wait_for()
        names = tab.locator("#language option").all_inner_texts()
        assert names[0] == "as spoken"
        assert {"German", "Welsh"} < set(names)
        assert "English" in transcribed(tab, jfk).locator(".facts").inner_text()
        tab.locator("#language").select_option("German")
        assert "German" in transcribed(tab, jfk, cards=2).locator(".facts").inner_text()
    finally:
        server.stop()


def test_with_the_keyboard_alone(tab: Any, long_speech: Path) -> None:
    card = transcribed(tab, long_speech)
    card.locator(".time").first.focus()
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate("document.activeElement.closest('li').previousElementSibling") is not None
    tab.keyboard.press("Enter")
    tab.wait_for_function("() => !document.querySelector('audio').paused")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.keyboard.type("typed ")
    tab.keyboard.press("Enter")
    assert card.locator("li").nth(1).locator(".mended").count() == 1
    tab.keyboard.press("ArrowUp")
    assert tab.evaluate("document.activeElement.className") == "fix plain"


# --- keys -----------------------------------------------------------------------------------------


def test_a_key_is_asked_for_and_stays_in_the_tab(open_tab: Any, serve: Any, jfk: Path) -> None:
    keyed = serve(API_KEYS="a-key-of-this-test-alone").wait_until_ready()
    tab = open_tab(keyed.url)
    field = tab.get_by_label("API key")
    field.wait_for()
    assert not tab.locator("#intake").is_visible()
    for wrong in ("a-key-that-nobody-has", "schlüssel"):
        field.fill(wrong)
        field.press("Enter")
        tab.get_by_text("The server does not know this key.").wait_for()
        assert not tab.locator("#intake").is_visible()
    field.fill("a-key-of-this-test-alone")
    field.press("Enter")
    tab.locator("#intake").wait_for()
    assert transcribed(tab, jfk).get_attribute("data-state") == "done"

    kept = tab.evaluate("JSON.stringify([sessionStorage, localStorage, document.cookie])")
    assert json.loads(kept) == [{"airgap-key": "a-key-of-this-test-alone"}, {}, ""]
    tab.reload()
    tab.locator("#intake").wait_for()
    other = tab.context.new_page()
    other.goto(keyed.url)
    other.get_by_label("API key").wait_for()
    tab.get_by_role("button", name="Forget the key").click()
    tab.get_by_label("API key").wait_for()
    assert tab.evaluate("sessionStorage.length") == 0


def test_without_a_key_there_is_the_page_and_nothing_else(serve: Any) -> None:
    keyed = serve(API_KEYS="a-key-of-this-test-alone").wait_until_ready()
    status, headers, body = asked_for(keyed, "/", Origin="https://elsewhere.example")
    assert status == 200
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.lower().startswith("access-control")]
    files = re.findall(r'(?:src|href)="([^"]*)"', body.decode())
    assert set(files) == {"page/icon.svg", "page/page.css", "page/page.js", "docs"}
    assert not re.search(r"style=|<style|\son\w+=|<script>", body.decode())
    for name in files:
        assert asked_for(keyed, f"/{name}")[0] == 200
    for path in ("/v1/inventory", "/v1/models", "/metrics", "/page/", "/page/../v1/models"):
        assert asked_for(keyed, path)[0] in {401, 404}


# --- what others put into it ----------------------------------------------------------------------

MARKUP = "<img src=x onerror=\"window.taken='over'\"><script>window.taken='over'</script>"


def told(tab: Any, *events: dict[str, Any], status: int = 200) -> None:
    """What the server would answer next."""
    body = "".join(f"data: {json.dumps(one)}\n\n" for one in events)
    tab.route(
        "**/v1/audio/transcriptions",
        lambda route: route.fulfill(status=status, content_type="text/event-stream", body=body),
        times=1,
    )


HARD = [
    (0.0, 0.0, " An end at its start."),
    (1.005, 2.0149, " <b>bold</b> & a -->\n\n arrow"),
    (2.5, 3.0, "   "),
    (59.9996, 61.0, " a\u2028line\x0bbreak\x85of each kind\r\n"),
    (360_000.25, 360_001.125, " after a hundred hours"),
]
"""Start, end and text of lines that a format could get wrong."""

BEGUN = {
    "type": "transcript.begun",
    "task": "transcribe",
    "language": "english",
    "duration": 11.0,
    "model": MARKUP,
    "bundle": MARKUP,
}


def segment(text: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "transcript.segment",
        "id": 0,
        "start": 0.0,
        "end": 4.0,
        "text": text,
        **more,
    }


def test_markup_is_text(tab: Any, jfk: Path) -> None:
    done = {"type": "transcript.text.done", "text": MARKUP}
    told(tab, BEGUN, segment(MARKUP, speaker=MARKUP), done)
    name = MARKUP.replace("/", "|")
    card = transcribed(tab, {"name": name, "mimeType": "audio/wav", "buffer": jfk.read_bytes()})
    for place in ("h2", ".said", ".speaker"):
        assert card.locator(place).inner_text() in {name, MARKUP}
    assert f"{MARKUP} from {MARKUP}" in card.locator(".facts").inner_text()
    line = card.locator("li").first
    line.hover()
    line.locator(".fix").click()
    line.locator("textarea").press("Enter")
    assert tab.evaluate("window.taken") is None
    assert tab.locator("main img, main script").count() == 0


def test_what_is_no_recording_is_said_and_can_be_tried_again(
    tab: Any, jfk: Path, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.docx"
    letter.write_bytes(b"PK\x03\x04 not audio at all" * 100)
    card = transcribed(tab, letter)
    assert card.get_attribute("data-state") == "failed"
    told = card.locator(".state").inner_text()
    assert "'letter.docx' is not audio that can be decoded" in told
    assert told.endswith("; give a recording such as WAV, FLAC, MP3, M4A, Ogg, Opus, WebM or MP4.")
    card.get_by_role("button", name="Try again: letter.docx").click()
    tab.wait_for_function("() => document.querySelector('.card').dataset.state === 'failed'")
    card.get_by_role("button", name="Remove: letter.docx").click()
    assert tab.locator(".card").count() == 0
    assert transcribed(tab, jfk).get_attribute("data-state") == "done"


def test_a_text_that_broke_off_is_no_text(tab: Any, jfk: Path) -> None:
    told(tab, BEGUN, segment("half of it"))
    card = transcribed(tab, jfk)
    assert card.get_attribute("data-state") == "failed"
    assert card.locator(".state").inner_text() == "The connection was lost before the end."
    assert not card.get_by_role("button", name="Download: jfk.wav").is_visible()

    told(tab, BEGUN, segment("half of it"), {"error": {"message": "the engine failed"}})
    card.get_by_role("button", name="Try again: jfk.wav").click()
    card.get_by_text("the engine failed.").wait_for()
    card.get_by_role("button", name="Try again: jfk.wav").click()
    tab.locator(".card[data-state=done]").wait_for(timeout=300_000)
    assert "half of it" not in card.inner_text()


def test_a_busy_server_is_asked_again(tab: Any, jfk: Path) -> None:
    refusal = {"error": {"message": "The queue is full", "type": "rate_limit_error"}}
    tab.route(
        "**/v1/audio/transcriptions",
        lambda route: route.fulfill(status=429, headers={"Retry-After": "5"}, json=refusal),
        times=1,
    )
    choose(tab, jfk)
    tab.get_by_text("The queue is full. Trying again…").wait_for()
    tab.locator(".card[data-state=done]").wait_for(timeout=300_000)


def test_a_stopped_recording_is_left_alone(tab: Any, long_speech: Path) -> None:
    choose(tab, long_speech)
    tab.get_by_role("button", name=re.compile("^Stop: ")).click()
    card = tab.locator(".card")
    assert card.locator(".state").inner_text() == "Stopped."
    card.get_by_role("button", name=re.compile("^Try again: ")).click()
    tab.locator(".card[data-state=done]").wait_for(timeout=300_000)


# --- for everyone ---------------------------------------------------------------------------------

LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True},
}


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(
    open_tab: Any, speaking_server: Any, axe: Any, jfk: Path, look: str
) -> None:
    tab = open_tab(speaking_server.url, **LOOKS[look])
    tab.locator("#intake").wait_for()
    assert axe(tab) == []
    card = transcribed(tab, jfk)
    card.locator(".fix").first.click()
    tab.locator("summary").click()
    assert axe(tab) == []
    assert "undefined" not in tab.locator("body").inner_text()
    wide = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "the page is wider than the screen"


def test_axe_finds_nothing_where_a_key_is_asked_for(open_tab: Any, serve: Any, axe: Any) -> None:
    keyed = serve(API_KEYS="a-key-of-this-test-alone").wait_until_ready()
    tab = open_tab(keyed.url)
    tab.get_by_label("API key").wait_for()
    assert axe(tab) == []


def seconds(clock: str) -> int:
    minutes, _, rest = clock.partition(":")
    return int(minutes) * 60 + int(rest)


def taken(tab: Any, card: Any, form: str) -> str:
    """A file that the page gives."""
    card.locator("select").select_option(form)
    with tab.expect_download() as kept:
        card.get_by_role("button", name=re.compile("^Download: ")).click()
    assert kept.value.suggested_filename.endswith(f".{form}")
    return Path(kept.value.path()).read_text()

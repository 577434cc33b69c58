"""Looks at a page in a headless Chromium, at desktop and at phone width."""

import html
import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --window-size=1400,1000 --virtual-time-budget=5000"""

# shows the page in two frames of these widths, then writes what it measured into its own title
HARNESS = """<!doctype html><title>waiting</title><body><script>
const page = PAGE, found = [];
for (const width of [1280, 390]) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 900; frame.srcdoc = page;
  frame.onload = () => {
    const d = frame.contentDocument, root = d.documentElement;
    const all = s => [...d.querySelectorAll(s)];
    const high = e => e.getBoundingClientRect().height;
    found.push({width, scroll: root.scrollWidth, client: root.clientWidth, maths: all("math").length,
      flat: all("math").filter(e => high(e) < 8).length, images: all("img").length,
      missing: all("img").filter(e => !e.naturalWidth).length, scatters: all("svg").length,
      type: Math.min(...all("main *").filter(e => e.innerText && !e.closest("math, svg")).map(e =>
        parseFloat(frame.contentWindow.getComputedStyle(e).fontSize))),
      sources: all("pre").length, coloured: all("pre .k").length});
    if (found.length == 2) document.title = JSON.stringify(found);
  };
  document.body.append(frame);
}
</script>"""


def seen(text, folder):
    """What the browser measured of the page, at desktop and at phone width."""
    harness = folder / "harness.html"
    harness.write_text(HARNESS.replace("PAGE", json.dumps(text).replace("</", "<\\/")), encoding="utf-8")
    command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", "--dump-dom", harness.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    title = html.unescape(re.search("<title>(.*?)</title>", done.stdout).group(1))
    return sorted(json.loads(title), key=lambda found: -found["width"])

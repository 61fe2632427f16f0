"""The two pages, sign-in and terminal, and their scripts. They hold no secret and refer to no other host."""

from __future__ import annotations

from html import escape

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The browser refuses to load anything from other hosts."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

SIGN_IN_SCRIPT = """
"use strict";
const show = (text) => { const line = document.querySelector(".error"); line.textContent = `× ${text}`;
                         line.hidden = false; };
const signIn = async (credential) => {
  const response = await fetch("/sign-in", {method: "POST", body: new URLSearchParams(credential)})
    .catch(() => null);
  if (!response) { show("the server does not respond"); return; }
  const answer = await response.json();
  if (!response.ok) { show(answer.error); return; }
  sessionStorage.setItem("mesh-session", answer.session);
  location.replace("/");
};
window.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form"), code = location.hash.slice(1);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn({token: form.elements.token.value});
  });
  if (code) { history.replaceState(null, "", "/sign-in"); signIn({code}); }
});
"""

TERMINAL_SCRIPT = """
"use strict";
// The session travels as a subprotocol, so that no other port of this host ever receives it.
const session = sessionStorage.getItem("mesh-session");
const signIn = () => {
  sessionStorage.removeItem("mesh-session");
  location.replace("/sign-in" + location.hash);
};
if (!session || location.hash) signIn();
window.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url, ["mesh-dash", `session.${session}`]);
    let opened = false;
    this.addEventListener("open", () => { opened = true; });
    this.addEventListener("close", () => { if (!opened) signIn(); });
  }
};
// Focus the terminal once it is connected, and whenever the page is clicked.
const focus = () => document.querySelector(".xterm-helper-textarea")?.focus();
const waiting = setInterval(() => {
  if (document.body.classList.contains("-first-byte")) { clearInterval(waiting); focus(); }
}, 50);
window.addEventListener("click", focus);
"""

_STYLE = """
body { background: #0d1117; color: #d7dde5; font-family: monospace; margin: 0; }
main { max-width: 34rem; margin: 18vh auto 0; padding: 0 1rem; }
label, p { display: block; line-height: 1.5; }
input { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; margin: .5rem 0 1rem;
        background: #161b22; color: inherit; border: 1px solid #8b949e; }
button { font: inherit; padding: .5rem 1.5rem; background: #1f3a5f; color: inherit;
         border: 1px solid #79c0ff; }
.error { color: #ff7b72; }
"""

_TERMINAL_STYLE = """
@font-face { font-family: "Roboto Mono"; src: url("/static/fonts/RobotoMono-VariableFont_wght.ttf"); }
html, body { height: 100%; }
body { background: #0d1117; color: #d7dde5; margin: 0; font-family: "Roboto Mono", monospace; }
.textual-terminal { height: 100vh; }
#ended { display: none; position: fixed; inset: 0; z-index: 10; background: #0d1117e6; align-items: center;
         justify-content: center; }
body.-closed #ended { display: flex; }
a { color: #79c0ff; }
"""


def sign_in_page() -> str:
    """The page that asks for the token, or redeems the code in its fragment."""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>mesh dash</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>
<script src="/sign-in.js"></script></head>
<body><main><h1>mesh dash</h1><p class="error" role="alert" hidden></p>
<noscript><p>The dashboard needs JavaScript.</p></noscript>
<form method="post" action="/sign-in" autocomplete="off">
<label for="token">The mesh's token, from <code>admin.token</code> in its state directory
or from <code>MESH_TOKEN_FILE</code>:</label>
<input id="token" name="token" type="password" required autofocus>
<button>Show the mesh</button></form></main></body></html>
"""


def terminal_page(socket: str, font_size: int) -> str:
    """The page with the terminal; `socket` is the URL of its WebSocket."""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>mesh dash</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/css/xterm.css"><style>{_TERMINAL_STYLE}</style>
<script src="/terminal.js"></script><script src="/static/js/textual.js"></script></head>
<body><div id="ended"><p>The dashboard has exited. <a href="/">Start it again</a></p></div>
<div id="terminal" class="textual-terminal" data-session-websocket-url="{escape(socket)}"
 data-font-size="{font_size}"></div></body></html>
"""

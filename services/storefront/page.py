"""The exchange's page: its files, and the headers that keep a browser from loading anything else."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "web"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def routes() -> list[web.RouteDef]:
    """`/` and the files that it needs below `/page/`."""
    paths = {path: f"/page/{path.name}" for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
    paths[FOLDER / "index.html"] = "/"
    return [_route(path, url) for path, url in paths.items()]


def _route(path: Path, url: str) -> web.RouteDef:
    text = path.read_text(encoding="utf-8")

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=TYPES[path.suffix], charset="utf-8", headers=HEADERS)

    return web.get(url, serve)

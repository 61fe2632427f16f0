"""A TCP app that speaks TLS with its own certificate: it greets with its name and the host that the client
hosts for, then echoes.

```
python -m tests.fakes.tls_app CERTIFICATE KEY      # listens at PORT
```
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys


async def main() -> None:
    """Serve until stopped."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    hosts: list[str] = []
    context.sni_callback = lambda _socket, host, _context: hosts.append(host or "")
    name = os.environ.get("INSTANCE", "app")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name} {hosts[-1] if hosts else ''}\n".encode())
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), ssl=context)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

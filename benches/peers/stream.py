#!/usr/bin/env python3
"""The endpoint of long answers: WebSocket echo at /ws, an event stream that says one thing and falls silent at /events.

    stream.py PORT

Bytes of a WebSocket come back as they are: who tunnels does not look into them.
"""
import asyncio
import sys

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
EVENTS = (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"
          b"transfer-encoding: chunked\r\n\r\n9\r\ndata: 0\n\n\r\n")


async def serve(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        tunnel = head.startswith(b"GET /ws ")
        writer.write(SWITCH if tunnel else EVENTS)
        while more := await reader.read(65536):
            if tunnel:
                writer.write(more)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

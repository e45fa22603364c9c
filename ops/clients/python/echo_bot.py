#!/usr/bin/env python3
"""Says everything back: PASSWORD=… echo_bot.py http://127.0.0.1:8080 13812652243

An account that is not there is made. Ctrl-C ends it; what it is sent meanwhile it answers at its next start.
"""

import asyncio
import os
import sys

import simple_im


async def main(address: str, phone: str) -> None:
    password = os.environ["PASSWORD"]  # on the command line everybody on the machine could see it
    try:
        await simple_im.Client.register(address, phone, "Echo", password)
    except simple_im.Refused as refused:
        if refused.code != "taken":
            raise
    async with await simple_im.Client.login(address, phone, password, "echo-bot", state=f"echo-{phone}.db") as im:
        print(f"user {im.user} listens", flush=True)
        async for message in im:
            if message.entry.get("t") == "add_contact":
                await im.accept_contact(message.sender)
            elif message.kind in ("m", "gm") and not message.own:
                # The id comes of what is answered: who dies before it has acknowledged answers once all the same.
                await message.reply(message.text, id=f"echo_{message.conversation[1]}_{message.seq}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or "PASSWORD" not in os.environ:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass

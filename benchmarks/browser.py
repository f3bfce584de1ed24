"""Requests as a browser sends them: 13 header fields, cookies among them, and no two requests are the same.

A pool of them goes round. In path, referer and cookie stands a serial number that never comes twice, so neither whole
heads nor those three lines can be remembered; the others come again, as those of browsers do.
"""

import json
import random
from collections.abc import Iterator

POOL = 1000
FIELDS = 13
SEED = 7
"""Every run asks for the same."""
PATH = "/app/"
"""What the backend answers all the same (configurations/backend.conf)."""

WORDS = ("account", "article", "basket", "catalogue", "image", "inbox", "invoice", "order", "profile", "search")
LANGUAGES = ("en-US,en;q=0.9", "de-DE,de;q=0.9,en;q=0.6", "fr,fr-FR;q=0.8,en;q=0.5", "pt-BR,pt;q=0.9,en-US;q=0.8")
PLATFORMS = {
    "Windows": "Windows NT 10.0; Win64; x64",
    "Linux": "X11; Linux x86_64",
    "macOS": "Macintosh; Intel Mac OS X",
}
ACCEPTED = {
    "document": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "image": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "empty": "application/json, text/plain, */*",
}
SERIAL = "@"
"""Stands where the serial number goes."""


def script(host: str) -> str:
    """A wrk script that asks `host`."""
    requests = ",\n".join(f"{{{', '.join(map(json.dumps, head.split(SERIAL)))}}}" for head in heads(host))
    return f"""
local heads, serial = {{
{requests}
}}, 0
function request()
  serial = serial + 1
  return table.concat(heads[serial % #heads + 1], serial)
end
"""


def heads(host: str) -> Iterator[str]:
    """POOL request heads, SERIAL in each."""
    chance = random.Random(SEED)
    for _ in range(POOL):
        fields = header_fields(host, chance)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        yield f"GET {path(chance)} HTTP/1.1\r\n{lines}\r\n"


def header_fields(host: str, chance: random.Random) -> dict[str, str]:
    version, platform = chance.randrange(120, 140), chance.choice(list(PLATFORMS))
    kind = chance.choice(list(ACCEPTED))
    engine = "AppleWebKit/537.36 (KHTML, like Gecko)"
    return {
        "Host": host,
        "Connection": "keep-alive",
        "sec-ch-ua": f'"Chromium";v="{version}", "Not A(Brand";v="24", "Google Chrome";v="{version}"',
        "sec-ch-ua-mobile": "?0",
        "sec-ch-ua-platform": f'"{platform}"',
        "User-Agent": f"Mozilla/5.0 ({PLATFORMS[platform]}) {engine} Chrome/{version}.0.0.0 Safari/537.36",
        "Accept": ACCEPTED[kind],
        "Sec-Fetch-Site": "same-origin",
        "Sec-Fetch-Mode": "navigate" if kind == "document" else "cors",
        "Referer": f"https://{host}{path(chance)}",
        "Accept-Encoding": "gzip, deflate, br, zstd",
        "Accept-Language": chance.choice(LANGUAGES),
        "Cookie": cookies(chance),
    }


def path(chance: random.Random) -> str:
    """A path of two or three words and a query."""
    words = "/".join(chance.choices(WORDS, k=chance.randrange(2, 4)))
    return f"{PATH}{words}/{SERIAL}?page={chance.randrange(40)}&token={chance.getrandbits(64):x}"


def cookies(chance: random.Random) -> str:
    """A session, what counts visits, and what was chosen."""
    visits = f"_ga=GA1.2.{chance.getrandbits(30)}.{chance.getrandbits(30)}; _gid=GA1.2.{chance.getrandbits(30)}"
    return f"session={chance.getrandbits(128):032x}{SERIAL}; {visits}; theme=dark; consent={chance.randrange(8)}"

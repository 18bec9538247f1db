"""Somebody of the company at a PC of the office: the pages by their forms, the API by the official client.

What the box calls its own certificate authority is taken over as IT would: downloaded once, then believed.
"""

import re
import ssl
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2 as httpx
from openai import OpenAI

from tests.image.box import Box
from tests.waiting import wait_until

UPLOAD_SECONDS = 300.0
PASSWORD = "a long enough sentence"
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="csrf_token"')


class Visitor:
    """Uses `box` from the PC `name` of its office; only inside of `with`."""

    def __init__(self, box: Box, name: str = "pc", *, address: str | None = None) -> None:
        self.box, self._name, self._address = box, name, address
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        address = self._address or self.box.address
        self.url = f"https://{address}"
        with ExitStack() as opened:  # a PC that nobody leaves would keep its namespace
            opened.enter_context(self.box.office.inside(self._name))
            self.trust = ssl.create_default_context(cadata=self._authority(address))
            client = httpx.Client(base_url=self.url, verify=self.trust, follow_redirects=True, timeout=60)
            self.http = opened.enter_context(client)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _authority(self, address: str) -> str:
        # the first visit can't know whom to believe; the console shows the fingerprint for those who compare
        found: list[str] = []

        def fetched() -> bool:
            try:
                answer = httpx.get(f"https://{address}/ca.crt", verify=False, timeout=10)
            except httpx.HTTPError:
                return False
            if answer.status_code == httpx.codes.OK:
                found.append(answer.text)
            return bool(found)

        self.box.wait_until(fetched, "the box's certificate authority")
        return found[0]

    # --- pages ---

    def submit(
        self, page: str, action: str | None = None, *, follow: bool = True, **fields: str
    ) -> httpx.Response:
        """Sends a form of `page` (to `action`, by default the page's own address) with its token.

        Without `follow` the answer may be a redirect: where it leads may soon not be there any more.
        """
        fields["csrf_token"] = self._token(page)
        referer = {"referer": f"{self.url}{page}"}
        return self.http.post(action or page, data=fields, headers=referer, follow_redirects=follow)

    def send_file(self, page: str, action: str, file: Path) -> httpx.Response:
        """Sends the form of `page` that takes a file."""
        token = self._token(page)
        with file.open("rb") as opened:
            return self.http.post(
                action,
                data={"csrf_token": token},
                files={"file": (file.name, opened, "application/x-tar")},
                headers={"referer": f"{self.url}{page}"},
                timeout=UPLOAD_SECONDS,
            )

    def _token(self, page: str) -> str:
        shown = self.http.get(page)
        token = _TOKEN.search(shown.text)
        assert token, f"no form on {page} ({shown.status_code}): {shown.text[:500]}"
        return str(token[1] or token[2])

    def claim(self, code: str, name: str = "Ada") -> None:
        """Becomes the first admin."""
        answer = self.submit("/claim", code=code, name=name, password=PASSWORD, language="en")
        assert answer.status_code == httpx.codes.OK, answer.text[:2000]

    def sign_in(self, name: str = "Ada") -> None:
        answer = self.submit("/sign-in", name=name, password=PASSWORD)
        assert answer.status_code == httpx.codes.OK, answer.text[:2000]

    def make_key(self, name: str) -> str:
        """A new API key's secret, once the API knows it: it looks for news a few times a second."""
        answer = self.submit("/keys", name=name, expiry="7")
        secret = re.search(r"sk-cellule-[A-Za-z0-9_-]+", answer.text)
        assert secret, answer.text[:2000]
        given = {"authorization": f"Bearer {secret[0]}"}
        wait_until(
            lambda: self.http.get("/v1/models", headers=given).status_code != httpx.codes.UNAUTHORIZED,
            within_seconds=10,
            what="the key is known",
            every_seconds=0.2,
        )
        return secret[0]

    # --- API ---

    def client(self, key: str) -> OpenAI:
        """The official client, with the company's trust."""
        http = httpx.Client(verify=self.trust, timeout=120)
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, http_client=http, max_retries=0)

    def ask(self, key: str, question: str) -> tuple[str, int]:
        """The streamed answer to `question`, and in how many chunks it came."""
        chunks = [
            chunk.choices[0].delta.content
            for chunk in self.client(key).chat.completions.create(
                model="cellule-demo",
                messages=[{"role": "user", "content": question}],
                stream=True,
                temperature=0,
            )
            if chunk.choices and chunk.choices[0].delta.content
        ]
        return "".join(chunks), len(chunks)

"""A teacher behind a server that speaks OpenAI's completions API, for its log-probabilities.

Prompts are lists of token ids. What is asked for is `prompt_logprobs` (vLLM's name), and for
servers without it `echo` with `logprobs` and tokens named ``token_id:N``
(`return_tokens_as_token_ids`, vLLM's and SGLang's name), since texts of tokens are ambiguous.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from planner.errors import PlannerError

TRIES = 4
SECONDS = 120.0  # for an answer
AT_ONCE = 16  # requests under way, which the server puts in batches


class Server:
    """`url` ends where the API's names begin, as in http://127.0.0.1:8000/v1; `name` may be empty
    where the server has one model."""

    def __init__(self, url: str, name: str = "") -> None:
        self.url = url
        known = [str(model["id"]) for model in self._ask("models")["data"]]
        if not name and len(known) != 1:
            raise PlannerError(
                f"{url} has the models {', '.join(known)}; name one as {url}#{known[0]}"
                if known
                else f"{url} has no model"
            )
        if name and name not in known:
            raise PlannerError(f"{url} has no model {name!r}, it has {', '.join(known)}")
        self.name = name or known[0]

    def tokens(self, text: str) -> list[int] | None:
        """How the server's tokenizer cuts a text; None if it does not say."""
        root = self.url.removesuffix("/v1")
        body = {"model": self.name, "prompt": text, "add_special_tokens": False}
        try:
            return [int(token) for token in self._ask("tokenize", body, root)["tokens"]]
        except (PlannerError, KeyError, TypeError):
            return None

    def likeliest(
        self, prompts: list[list[int]], entries: int
    ) -> list[tuple[list[int], list[float]]]:
        """Ids and log-probabilities of the likeliest tokens after each token of every prompt."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(lambda prompt: self._one(prompt, entries), prompts)
            return [row for rows in found for row in rows]

    def _one(self, prompt: list[int], entries: int) -> list[tuple[list[int], list[float]]]:
        body = {
            # one more token, whichever: a position is judged before its own token
            "model": self.name, "prompt": [*prompt, prompt[0]], "max_tokens": 1, "temperature": 0,
            "prompt_logprobs": entries, "echo": True, "logprobs": entries,
            "return_tokens_as_token_ids": True,
        }  # fmt: skip
        choice = self._ask("completions", body)["choices"][0]
        try:
            places = choice.get("prompt_logprobs") or choice["logprobs"]["top_logprobs"]
            return [_row(place, entries) for place in places[1 : len(prompt) + 1]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PlannerError(
                f"{self.url} does not give the log-probabilities of a prompt's tokens by their ids "
                f"({type(error).__name__}: {error}); it must know prompt_logprobs, or echo with "
                "logprobs and return_tokens_as_token_ids"
            ) from error

    def _ask(self, what: str, body: dict[str, Any] | None = None, root: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"{root or self.url}/{what}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        for attempt in range(TRIES):
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code not in (429, 500, 502, 503, 504) or attempt == TRIES - 1:
                    text = error.read(300).decode(errors="replace")
                    raise PlannerError(f"{url} answered {error.code}: {text}") from error
            except (OSError, ValueError) as error:
                if attempt == TRIES - 1 or isinstance(error, ValueError):
                    raise PlannerError(f"{url} gives no answer: {error}") from error
            time.sleep(0.2 * 4**attempt)
        raise AssertionError("unreachable")


def _row(place: dict[str, Any], entries: int) -> tuple[list[int], list[float]]:
    """The likeliest of one position, best first, as many as were asked for."""
    pairs = [
        (
            float(value["logprob"] if isinstance(value, dict) else value),
            int(name.removeprefix("token_id:")),
        )
        for name, value in place.items()
    ]
    best = sorted(pairs, reverse=True)[:entries]
    if len(best) < entries:
        raise ValueError(f"{len(best)} tokens where {entries} were asked for")
    return [token for _, token in best], [logprob for logprob, _ in best]

"""Takes what looks like a secret out of text that is going to be shown."""

from __future__ import annotations

import re

GONE = "[redacted]"
SHORTEST = 12  # characters: nothing shorter is taken for a secret

# A token is known by its issuer's prefix, which stays: it says whose token it was.
TOKENS = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=[0-9]m)|(?<=\\[nrt])|(?<=\\u[0-9a-f]{4}))"  # or behind a colour, or an escape of JSON
    r"(?:(sk-ant-)[A-Za-z0-9_-]{8,}"  # Anthropic: keys and OAuth tokens
    r"|(sk-)(?=[A-Za-z_-]{0,80}[0-9])[A-Za-z0-9_-]{20,}"  # OpenAI, OpenRouter, DeepSeek
    r"|(gh[pousr]_|github_pat_|glpat-|hf_|npm_|xox[a-z]-|pplx-|gsk_|xai-)[A-Za-z0-9_-]{16,}"
    r"|(AIza)[A-Za-z0-9_-]{30,}"  # Google API keys
    r"|(ya29\.)[A-Za-z0-9_.-]{16,}"  # Google OAuth
    r"|(AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS key ids
    r"|(eyJ)[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]*)"  # JSON web tokens
)
BEARER = re.compile(r"([Bb](?:earer|EARER)\s+)(?=[^\s\"']*[0-9._~+/=-])[A-Za-z0-9._~+/=-]{12,}")
SETTING = re.compile(r"((?:API_KEY|TOKEN|SECRET|PASSWORD|PASSWD)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;}\[]{6,}")
LOGIN = re.compile(r"([a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']{1,200}:)[^\s/@\"']{1,200}(?=@)")  # a proxy's password
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text with every token, bearer header, secret variable and password in a URL replaced by "[redacted]"."""
    if len(text) < SHORTEST:
        return text
    text = TOKENS.sub(lambda found: found[found.lastindex or 0] + GONE, text)
    text = BEARER.sub(rf"\1{GONE}", text)
    text = SETTING.sub(rf"\1{GONE}", text)
    return LOGIN.sub(rf"\1{GONE}", text) if "@" in text else text


def redacted_variable(name: str, value: str) -> str:
    """A variable's value as it may be shown: nothing of it where the name says that it is secret."""
    return GONE if SECRET_NAME.search(name) and name not in {"SSH_AUTH_SOCK", "XAUTHORITY"} else redacted(value)

"""Takes what looks like a secret, and the secrets that this process has read, out of text that is shown or stored."""

from __future__ import annotations

import re

GONE = "[redacted]"
SHORTEST = 12  # characters: nothing shorter is taken for a secret
KNOWN_MOST = 100  # secrets kept in mind: the last ones, where credentials change with each launch

# A token is known by its issuer's prefix, which stays: it says whose token it was.
TOKENS = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=[0-9]m)|(?<=\\[nrt])|(?<=\\u[0-9a-f]{4}))"  # or behind a colour, or an escape of JSON
    r"(?:(sk-ant-)[A-Za-z0-9_-]{8,}"  # Anthropic: keys and OAuth tokens
    r"|(sk-)(?=[A-Za-z_-]{0,80}[0-9])[A-Za-z0-9_-]{20,}"  # OpenAI, OpenRouter, DeepSeek
    r"|(gh[pousr]_|github_pat_|glpat-|hf_|npm_|xox[a-z]-|xapp-|pplx-|gsk_|xai-|r8_|pypi-|dop_v1_|shpat_|lin_api_|crsr_)"
    r"[A-Za-z0-9_-]{16,}"
    r"|([sr]k_(?:live|test)_|sgamp_|sgp_|tk_|hvs\.|dapi)(?=[A-Za-z_]{0,40}[0-9])[A-Za-z0-9_]{20,}"  # Stripe, Amp, ntfy
    r"|(AIza)[A-Za-z0-9_-]{30,}"  # Google API keys
    r"|(ya29\.)[A-Za-z0-9_.-]{16,}"  # Google OAuth
    r"|(AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS key ids
    r"|(AGE-SECRET-KEY-1)[A-Z0-9]{20,}"
    r"|(eyJ)[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]*)"  # JSON web tokens
)
BEARER = re.compile(r"([Bb](?:earer|EARER)\s+)(?=[^\s\"']*[0-9._~+/=-])[A-Za-z0-9._~+/=-]{12,}")
BASIC = re.compile(r"([Aa]uthorization[\"']?\s*:\s*[\"']?[Bb]asic\s+)[A-Za-z0-9+/=]{8,}")
SETTING = re.compile(r"((?:API_KEY|TOKEN|SECRET|PASSWORD|PASSWD)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;}\[]{6,}")
FIELD = re.compile(  # JSON, headers and the queries of URLs; a digit tells a value from a word
    r"((?:[ax](?:pi|-api)[_-]?key|(?:access|refresh|auth|id)[_-]?token|client[_-]?secret)[\"']?\s*[=:]\s*[\"']?)"
    r"(?=[^\s\"',;&}\[]{0,80}[0-9])[^\s\"',;&}\[]{12,}",
    re.IGNORECASE,
)
KEY = re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?:-----END|$)", re.DOTALL)
HOOK = re.compile(r"(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)[A-Za-z0-9_/-]{16,}")
LOGIN = re.compile(r"([a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']{1,200}:)[^\s/@\"']{1,200}(?=@)")  # a proxy's password
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)


# What a text must hold for a pattern to find anything: most hold none, and to look for a word costs next to nothing.
STARTS = (
    *(
        "sk-",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "hf_",
        "npm_",
        "xox",
        "xapp-",
        "pplx-",
        "gsk_",
        "xai-",
        "r8_",
        "pypi-",
        "dop_v1_",
    ),
    *("shpat_", "lin_api_", "crsr_", "sk_", "rk_", "sgamp_", "sgp_", "tk_", "hvs.", "dapi", "AIza", "ya29.", "AKIA"),
    *("ASIA", "AGE-SECRET-KEY-1", "eyJ"),
)
HINTS = (
    (BEARER, ("earer", "EARER")),
    (BASIC, ("asic ",)),
    (SETTING, ("API_KEY", "TOKEN", "SECRET", "PASSW")),
    (FIELD, ("key", "KEY", "Key", "oken", "OKEN", "secret", "SECRET", "Secret")),
    (KEY, ("PRIVATE KEY",)),
    (HOOK, ("hooks",)),
    (LOGIN, ("://",)),
)


def redacted(text: str) -> str:
    """The text with every secret that is known or looks like one replaced by "[redacted]"."""
    text = _without_whole(text)
    if len(text) < SHORTEST:
        return text
    if text.islower() and text.replace(" ", "").isalpha():  # plain words, such as the name of an event
        return _without_parts(text)
    if any(start in text for start in STARTS):
        text = TOKENS.sub(lambda found: found[found.lastindex or 0] + GONE, text)
    for pattern, hints in HINTS:
        if any(hint in text for hint in hints):
            text = pattern.sub(rf"\1{GONE}", text)
    return _without_parts(text)


def redacted_variable(name: str, value: str) -> str:
    """A variable's value as it may be shown: nothing of it where the name says that it is secret."""
    return GONE if SECRET_NAME.search(name) and name not in {"SSH_AUTH_SOCK", "XAUTHORITY"} else redacted(value)


# --- what this process has read ----------------------------------------------------------------


class _Known:
    """The secrets that were read, the latest last; read by other threads while one is learnt."""

    values: tuple[str, ...] = ()


_known = _Known()


def learn(secret: str) -> None:
    """From now on take this very text out of all others, and each long line of it."""
    lines = [one for one in secret.splitlines() if len(one) >= SHORTEST and one != secret]
    rest = [one for one in _known.values if one != secret and one not in lines]
    _known.values = (*rest, *lines, secret)[-KNOWN_MOST:]


def without_known(text: str) -> str:
    """The text without the secrets that were learnt, also where it begins or ends inside of one."""
    return _without_parts(_without_whole(text))


def _without_whole(text: str) -> str:
    for secret in _known.values:
        if secret in text:
            text = text.replace(secret, GONE)
    return text


def _without_parts(text: str) -> str:
    """After all that looks like a secret: tokens of one issuer begin alike."""
    for secret in _known.values:
        if len(secret) > SHORTEST:
            text = _without_head(text, secret)
            end = text.find(secret[-SHORTEST:], 0, len(secret)) + SHORTEST
            if end >= SHORTEST and secret.endswith(text[:end]):
                text = GONE + text[end:]
    return text


def _without_head(text: str, secret: str) -> str:
    """The text without as much of the secret's beginning as is there."""
    at = text.find(secret[:SHORTEST])
    while at >= 0:
        end = at + SHORTEST
        while end < len(text) and end - at < len(secret) and text[end] == secret[end - at]:
            end += 1
        text = f"{text[:at]}{GONE}{text[end:]}"
        at = text.find(secret[:SHORTEST], at + len(GONE))
    return text

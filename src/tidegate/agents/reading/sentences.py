"""The sentences, statuses and types with which providers say no: data, each from a recorded run or a public report.

A sentence is a pattern for the beginning of a text, in any case; a space in it also matches the end of a hard-wrapped
line. Most end at END, the places where a real message goes on: a sentence that runs on as prose is none.
"""

from __future__ import annotations

import re

from tidegate.model import Kind
from tidegate.resets import PACIFIC

BEIJING = "Asia/Shanghai"  # where GLM's coding plan tells its clock times

GOES_ON = r"\b(?:resets?|for|of|until|try|please|retrying)\b"
END = rf"(?=\s*(?:$|[\n.!|·(\[;*]|-\s|,\s*(?:please|try|upgrade|or)\b|{GOES_ON}))"
STOP = r"(?=\s*(?:$|[\n.,·(]))"
HIT = r"you(?:'ve| have)? (?:just )?(?:hit|reached|exceeded|exhausted|used up)"
HAS = r"(?:has |was |could )?(?:been )?"
BEEN = r"(?:has been |was |is )?"
OVER = r"(?:reached|exceeded|exhausted)"
HOURS = r"\d{1,3}[- ]?(?:hours?|h|days?)"
TIMES = rf"{HOURS}|session|hourly|daily|weekly|monthly"
EVERY = rf"{TIMES}|opus|sonnet|haiku|fable|fast|usage|free|individual|premium|subscription"
MAKERS = r"anthropic|openai|claude(?: code| ai)?|codex|chatgpt|gemini(?: code assist)?|copilot|cursor"
WHOSE = rf"{MAKERS}|pro|max|plus|team|plan|tier"
OWN = r"trial|global|overall|personal|included|extra|account|model|api|requests?|messages?|prompts?|chat"
MINE = rf"(?:{EVERY}|{WHOSE}|{OWN})"
PLAN = rf"(?:{EVERY}|{WHOSE})"
LIMIT = r"(?:limits?|quota(?: limit)?|allowance|allocation|token usage)"

CREDIT = (  # money, and what only a person can change
    rf"{HIT} your (?:[\w'.-]+ ){{0,3}}?spend(?:ing)? (?:limit|cap)\b",
    rf"{HIT} your org(?:anization)?'s (?:\w+ )?(?:usage )?limit",
    r"you(?:'ve| have) reached your specified (?:workspace )?api usage limits",
    r"your group's usage limit is set to",
    r"your usage allocation has been disabled",
    rf"this service is disabled for your org(?:anization)?{END}",
    r"(?:your )?(?:api )?credit balance (?:is )?too low",
    r"(?:you|your (?:workspace|organization|account|team)) (?:is|are|has|have) (?:run )?out of (?:\w+ )?credits",
    rf"(?:you're|you've run) out of (?:usage |prepaid )?credits{END}",
    r"you (?:do not|don't) have enough credits",
    rf"(?:your )?(?:\w+ )?spend(?:ing)? (?:limit|cap) (?:has been )?(?:reached|exceeded){END}",
    r"this request requires more credits",
    rf"you have no quota{STOP}",
    r"key limit exceeded \(",
    r"quota exceeded\. check your plan and billing",
    r"you exceeded your current quota(?![^\0]{0,400}?(?:ai\.google\.dev|generativelanguage|retry in))",
    r"(?:you exceeded your current quota|quota exceeded for metric)[^\0]{0,600}?\blimit: 0\b",
    rf"insufficient (?:account )?(?:credits?|balance|quota){STOP}",
    r"insufficient credits with the api provider",
    r"insufficient_quota\b",
    r"(?:usage credits|extra usage) (?:are |is )?required (?:for|to)\b",
    r"billing hard limit has been reached",
    rf"402 payment required{END}",
)

AUTH = (  # who is asking
    rf"(?:you are |you're )?not logged in{END}",
    rf"please run /login{END}",
    r"invalid api key(?= ·)",
    rf"invalid x-api-key{END}",
    r"(?:incorrect|invalid) api key provided",
    r"api key not valid\. please pass",
    rf"(?:your )?(?:oauth |access |refresh ){{1,2}}(?:token|session) {HAS}(?:not |expired|revoked)",
    r"failed to authenticate(?=[.:])",
    r"authentication failed with provider",
    r"the api provider is not able to authenticate",
    r"(?:this|your) organization has (?:been )?disabled",
    r"your (?:account|workspace) has been (?:disabled|suspended|deactivated)",
    r"your (?:account|organization) does not have access to claude",
    r"api access (?:is )?paused for",
    r"to use codex with your chatgpt plan, upgrade",
    r"too many free trial accounts",
    r"[\w ]{1,40} rejected your \S{1,40} credential \(http 40[13]\)",
    r"unexpected status 40[13]\b",
    r"you are not allowed to sample from this model",
    r"when using gemini api, you must specify",
    r"please set an auth method",
)

OVERLOADED = (  # the provider is busy for everybody
    rf"(?:(?:the )?(?:api|server|model|service|engine) )?(?:is )?(?:currently |temporarily )?overloaded{STOP}",
    r"(?:repeated )?529 overloaded",
    r"the api provider's servers are down or overloaded",
    r"selected model is at capacity",
    r"no capacity available for model",
    r"(?:we're|we are) currently experiencing high demand",
    r"(?:claude )?(?:opus|sonnet|haiku|fable)(?: [\d.]+)? is experiencing high load",
    rf"the (?:model|server|service|engine) is (?:currently |temporarily )?(?:overloaded|unavailable|busy){END}",
    r"service (?:is )?(?:temporarily |currently )?unavailable\.? (?:please )?(?:try|retry)",
)

USAGE = (  # an allowance is used up
    rf"{HIT} (?:your|the) (?:{MINE} ){{0,5}}{LIMIT}{END}",
    rf"you(?:'ve| have) used all (?:of )?(?:your |available )(?:{MINE} ){{0,4}}(?:quota|usage|requests|messages){END}",
    rf"{HIT} your (?:{MINE} ){{1,4}}rate limit{END}",
    r"you(?:'ve| have) hit a rate limit that restricts",
    r"(?:you're|you are) out of (?:extra usage|(?:\w+ )?(?:messages|prompts|requests|usage))\b",
    rf"(?:your )?(?:{PLAN} ){{1,4}}limits? {BEEN}(?:reached|exceeded|exhausted|hit){END}",
    rf"(?:your )?(?:{PLAN} |model |allocated |qwen oauth ){{1,4}}quota(?: limit)? {BEEN}{OVER}(?:{END}|(?=:))",
    r"number of (?:\w+ )?(?:tokens|requests) has exceeded your daily rate limit",
    r"limit reached (?:[·|-] )?resets?\b",
    rf"the usage limit has been reached{END}",
    r"(?:free|daily|weekly|monthly) usage exceeded(?=[ .,·(]|$)",
    r"resource_exhausted: quota exceeded",
    r"rate limit exceeded: (?:limit_rpd|\S{0,40}-per-day)",
    r"(?:request rejected \(429\) [-·] )?too many tokens per day",
)

RATE = (  # too much in a moment
    r"server is temporarily limiting requests",
    r"request rejected \(429\)",
    rf"(?:requests? |tokens? )?rate limit (?:is |has been |was )?(?:reached|exceeded|hit){END}",
    rf"{HIT} (?:your|the|a) rate limit{END}",
    r"rate limit (?:reached|exceeded)(?=: )",
    r"rate limit reached for \S{1,80} (?:in organization|on)\b",
    r"exceeded retry limit, last status: 429",
    r"(?:api error )?\(429 too many ",
    r"(?:[\w-]{1,40}: )?error while reading the server response: http status client error \(429",
    r"this request would exceed (?:your|the) [^\n]{0,60}?\brate\b",
    r"number of (?:\w+ )?(?:tokens|requests) has exceeded your per-minute rate limit",
    rf"(?:(?:http )?429:? )?too many (?:requests|tokens){STOP}",
    r"(?:your )?request was (?:throttled|rate[- ]limited)",
    r"you(?:'ve| have) been rate[- ]limited",
    r"the api provider has rate limited you",
    r"resource has been exhausted",
    r"quota exceeded for (?:quota )?metric",
    r"you exceeded your current quota",
    r"retrying after rate limit",
    rf"rate limited{STOP}",
)

CAPACITY = r"you(?:'ve| have) exhausted your (?:capacity|quota)"
DAILY = (  # these name no time: the next midnight Pacific (Gemini)
    r"you(?:'ve| have) exhausted your daily quota",
    r"quota exceeded for quota metric [^\n]{0,200}?\bper day\b",
)

# --- what some sentences mean besides ---

GLM = re.compile(r"usage limit reached for \d+ (?:hour|day|week|month)", re.IGNORECASE)
OVERAGE = re.compile(r"spending cap|you're out of|you are out of", re.IGNORECASE)
LABELLED = (  # names of exceptions, which say enough without their text
    (Kind.RATE_LIMIT, re.compile(r"\b(?:RateLimitError|RetryableQuotaError)\b")),
    (Kind.AUTH, re.compile(r"\b(?:litellm|openai|anthropic)\.(?:AuthenticationError|PermissionDeniedError)\b")),
    (Kind.OVERLOADED, re.compile(r"\b(?:litellm|openai|anthropic)\.(?:InternalServerError|ServiceUnavailableError)\b")),
)

# --- types and statuses ---

STATUSES = {401: Kind.AUTH, 402: Kind.CREDIT, 403: Kind.AUTH, 429: Kind.RATE_LIMIT}
TYPES = {
    **dict.fromkeys(("usage_limit_reached", "usage_limit_exceeded", "quota_exhausted"), Kind.USAGE_LIMIT),
    **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded"), Kind.RATE_LIMIT),
    **dict.fromkeys(("overloaded_error", "server_is_overloaded"), Kind.OVERLOADED),
    **dict.fromkeys(("insufficient_quota", "billing_error", "billing_not_active", "credits_required"), Kind.CREDIT),
    **dict.fromkeys(("authentication_error", "authentication_failed", "permission_error"), Kind.AUTH),
}
GENERAL_TYPES = {  # words that other services use, too: they count only on an error frame of an agent
    **dict.fromkeys(("rate_limit", "too_many_requests", "tokens", "requests", "resource_exhausted"), Kind.RATE_LIMIT),
    **dict.fromkeys(("overloaded", "slow_down", "unavailable", "api_error", "internal"), Kind.OVERLOADED),
    **dict.fromkeys(("server_error", "internal_server_error", "service_unavailable"), Kind.OVERLOADED),
    **dict.fromkeys(("payment_required", "long_context_credits_required"), Kind.CREDIT),
    **dict.fromkeys(("invalid_api_key", "unauthenticated", "permission_denied", "api_key_invalid"), Kind.AUTH),
}


def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern in any case, its spaces outside of character classes also matching a line's end."""
    parts = re.split(r"(\[(?:\\.|[^\]\\])*\])", pattern)
    return re.compile("".join(p if n % 2 else p.replace(" ", r"[ \n]") for n, p in enumerate(parts)), re.IGNORECASE)


ALL: tuple[tuple[Kind, re.Pattern[str], str | None], ...] = (
    *((Kind.USAGE_LIMIT, _compiled(pattern), PACIFIC) for pattern in DAILY),
    (Kind.USAGE_LIMIT, _compiled(CAPACITY), None),
    *((Kind.CREDIT, _compiled(pattern), None) for pattern in CREDIT),
    *((Kind.AUTH, _compiled(pattern), None) for pattern in AUTH),
    *((Kind.OVERLOADED, _compiled(pattern), None) for pattern in OVERLOADED),
    *((Kind.USAGE_LIMIT, _compiled(pattern), None) for pattern in USAGE),
    *((Kind.RATE_LIMIT, _compiled(pattern), None) for pattern in RATE),
)

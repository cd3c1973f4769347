"""What pigpiod says when it ends at once, in plain words, and what to do about it."""

import re

from tweetdock.core.plain import plain

_LONGEST_END = 150
# What pigpiod says of all its options; the reason is before.
_USAGE = re.compile(r"^(pigpio V\d+|Usage: )", re.MULTILINE)
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+:", re.MULTILINE)
_FRAME = re.compile(r"\+-+\+|^\||\|$", re.MULTILINE)
_LAST_WORDS = "Can't initialise pigpio library"  # they say nothing that was not said before
_USE_LGPIO = "set TWEETDOCK_SERVO_BACKEND=lgpio"
# Words of pigpio.c and pigpiod.c, %m as strerror has it, and what the owner can do then.
_CURES = {
    r"does not appear to be a raspberry pi": (
        f"pigpio knows the Pi Zero to 4 only: on a Pi 5 {_USE_LGPIO}, on what is no Pi auto; an "
        "older Pi needs the kernel of Raspberry Pi OS and, in a container, --privileged"
    ),
    r"you don't have permission to run this program": (
        "in a container it takes --privileged; elsewhere let the system run pigpiod "
        f"(sudo systemctl enable --now pigpiod), run TweetDock as root, or {_USE_LGPIO}"
    ),
    r"Can't lock ": (
        "nothing can be written there (docker run --read-only wants --tmpfs /run), or another "
        "pigpiod was quicker: stop that one (sudo systemctl stop pigpiod)"
    ),
    r"mmap \w+ failed \(Operation not permitted\)": (
        f"this kernel keeps the Pi's memory closed: {_USE_LGPIO}, or run the kernel of Raspberry "
        "Pi OS, or start this one with iomem=relaxed"
    ),
    r"mmap [\w ]+ failed \(Resource temporarily unavailable\)": (
        "it may not lock as much memory as it needs: docker run --ulimit memlock=-1, elsewhere "
        "ulimit -l unlimited; or leave -b out of TWEETDOCK_PIGPIOD_OPTIONS"
    ),
    r"mbox open failed": (
        "there is no /dev/vcio here: it takes the kernel of Raspberry Pi OS and, in a container, "
        f"--privileged; or {_USE_LGPIO}"
    ),
    r"init mbox zaps failed": (
        "the graphics memory that it needs is used up, as after pigpiods that were killed: "
        "restart the Pi"
    ),
    r"pagemap|initZaps failed": (
        "leave -a 1, and a -b beyond 120, out of TWEETDOCK_PIGPIOD_OPTIONS"
    ),
    r"bind to port \d+ failed \(Address already in use\)": (
        "another program has this port: set PIGPIO_PORT to a free one, such as 8889"
    ),
    r"bind to port \d+ failed \(Cannot assign requested address\)": (
        "it wants an address that this machine does not have, such as ::1 where IPv6 is off: see "
        "what `ip address show lo` tells"
    ),
    r"chmod /dev/pigerr failed": (
        "it makes a pipe there, and may not: let /dev be writable (in a container, mount it "
        f"not read-only), or {_USE_LGPIO}"
    ),
    r"invalid -n option|invalid option -- '[fgmn]'": (
        "that is TweetDock's own word, so this pigpiod is too old for it: start it yourself (sudo "
        "pigpiod -l), or install pigpio 1.78"
    ),
    r"invalid -p option": "set PIGPIO_PORT to a number from 1024 to 32000",
    r"Usage: sudo pigpiod|invalid -\w option": (
        "this pigpiod does not know one of TWEETDOCK_PIGPIOD_OPTIONS"
    ),
}


def explained(said: str) -> str:
    """What pigpiod said, and the cure if there is one; nothing if it said nothing.

    The same for the same trouble, whenever it was said.
    """
    words = _plainly(said)
    for pattern, cure in _CURES.items():
        if re.search(pattern, said):
            return "; ".join(filter(None, (words.removesuffix("."), cure)))
    return words


def _plainly(said: str) -> str:
    reason = _FRAME.sub("", _USAGE.split(said, maxsplit=1)[0])
    pieces = (" ".join(plain(piece).split()) for piece in _STAMP.split(reason))
    told = [bare for piece in pieces if (bare := piece.removesuffix(_LAST_WORDS).strip())]
    words = "; ".join(told) or (_LAST_WORDS if _LAST_WORDS in said else "")
    if len(words) <= 2 * _LONGEST_END:
        return words
    return f"{words[:_LONGEST_END].rstrip()} ... {words[-_LONGEST_END:].lstrip()}"

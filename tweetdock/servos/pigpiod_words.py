"""What pigpiod says when it ends at once, in plain words, and what to do about it."""

import re

from tweetdock.plain import plain

_LONGEST = 300
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
        "another pigpiod holds the pins and does not answer at port {port}: stop it (sudo "
        "systemctl stop pigpiod, or sudo killall pigpiod), or set PIGPIO_PORT to its port"
    ),
    r"mmap \w+ failed \(Operation not permitted\)": (
        f"this kernel keeps the Pi's memory closed: {_USE_LGPIO}, or run the kernel of Raspberry "
        "Pi OS, or start this one with iomem=relaxed"
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
    r"invalid -p option": "set PIGPIO_PORT to a number from 1024 to 32000",
    r"Usage: sudo pigpiod|invalid -\w option": (
        "this pigpiod does not know one of TWEETDOCK_PIGPIOD_OPTIONS"
    ),
}


def explained(said: str, port: int) -> str:
    """What pigpiod at a port said, and the cure if there is one; nothing if it said nothing.

    The same for the same trouble, whenever it was said.
    """
    words = _plainly(said)
    for pattern, cure in _CURES.items():
        if re.search(pattern, said):
            return f"{words.removesuffix('.')}; {cure.format(port=port)}"
    return words


def _plainly(said: str) -> str:
    pieces = (" ".join(plain(piece).split()) for piece in _STAMP.split(_FRAME.sub("", said)))
    told = [bare for piece in pieces if (bare := piece.removesuffix(_LAST_WORDS).strip())]
    words = "; ".join(told) or (_LAST_WORDS if _LAST_WORDS in said else "")
    return words if len(words) <= _LONGEST else f"... {words[-_LONGEST:]}"

"""The numba kernel of text: lines of numbers become events, by decimal arithmetic."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

T, X, Y, P, IGNORED = range(5)  # what a column holds

# Places in the state, which goes on from call to call.
(
    AT,  # position in the bytes
    LINE,  # lines before that position
    NUM_EVENTS,
    FIRST_T,
    LAST_T,
    NUM_BACK,
    NUM_OUTSIDE,
    HAS_MINUS,  # whether a polarity was -1
    HAS_ZERO,  # whether a polarity was 0
    HAS_FRACTION,  # whether a timestamp had a fraction
    HAS_POINT,  # whether a timestamp was written with a decimal point or an exponent
    NUM_CHANGES,  # of timestamps from one event to the next
    LARGEST,  # timestamp, without its sign
    NUM_UNREAD,  # bytes of a last line that was cut short
    ERROR,
    ERROR_AT,  # where the line of the error begins
    STATE_SIZE,
) = range(17)

# Places of a line's values, behind T, X, Y and P: a timestamp is values[T] x 10^values[POWER].
POWER, IS_POINTED, NUM_VALUES = 4, 5, 6

# Errors.
(
    NO_ERROR,
    FEWER,  # columns
    MORE,  # columns
    NO_NUMBER,
    NO_SEPARATOR,
    NOT_WHOLE,  # a coordinate
    NO_POLARITY,
    MIXED,  # polarities -1 and 0
    TOO_LATE,  # a timestamp
    FRACTION,  # of a timestamp, although all before were whole
    TOO_LONG,  # a recording in what were taken for seconds
) = range(11)

LATEST = 10**17  # microseconds
LONGEST = 86_400 * 10**6  # microseconds
_MOST_MANTISSA = 10**17  # below it there is room for a digit
_POWERS = 10 ** np.arange(19, dtype=np.int64)

_TAB, _LINE_FEED, _RETURN, _BLANK, _HASH, _PERCENT, _PLUS, _COMMA, _MINUS, _POINT, _SEMICOLON = b"\t\n\r #%+,-.;"


@cached_njit(nogil=True)
def parse(
    raw: NDArray[np.uint8],
    end: int,
    roles: NDArray[np.int64],
    exponent: int,
    may_have_fraction: bool,
    is_long_wrong: bool,
    width: int,
    height: int,
    state: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write the events of the lines from state[AT] on, until raw[:end] ends or the arrays are full; return how many.

    Args:
        raw: lines; each is whole, apart from the last if the file ends with it.
        end: how many bytes to read.
        roles: of the columns, T, X, Y, P or IGNORED each.
        exponent: of the power of ten that makes microseconds of a timestamp.
        may_have_fraction: whether a timestamp with a fraction, before it becomes microseconds, is none of the errors.
        is_long_wrong: whether a recording of more than LONGEST is an error.
        width: x and
        height: y must be below; other events are counted and left out.
        state: int64 [STATE_SIZE], which this changes; at first 0. An error is in state[ERROR] and ends the call.
        x: of the events, as
        y:
        t: and
        p: are.
    """
    at: Any = state[AT]
    line: Any = state[LINE]
    num_events: Any = state[NUM_EVENTS]
    first_t: Any = state[FIRST_T]
    last_t: Any = state[LAST_T]
    num_back: Any = state[NUM_BACK]
    num_outside: Any = state[NUM_OUTSIDE]
    has_minus, has_zero = state[HAS_MINUS] != 0, state[HAS_ZERO] != 0
    has_fraction, has_point = state[HAS_FRACTION] != 0, state[HAS_POINT] != 0
    num_changes: Any = state[NUM_CHANGES]
    largest: Any = state[LARGEST]
    values = np.zeros(NUM_VALUES, np.int64)
    mantissa: Any = np.int64(0)
    event_x: Any = np.int64(0)
    event_y: Any = np.int64(0)
    event_p: Any = np.int64(0)
    n = 0
    while at < end and n < len(t):
        begin: Any = at
        # Nearly all lines are plain: digits, with one byte between the columns; only the timestamp has a point, and
        # only the polarity a sign. They are read here, since a call with arrays takes as long as half a line.
        is_plain = True
        power: Any = np.int64(0)
        is_pointed = False
        for column in range(len(roles)):
            role = roles[np.uint64(column)]
            is_minus = role == P and at < end and raw[np.uint64(at)] == _MINUS
            if is_minus:
                at += 1
            number: Any = np.int64(0)
            first: Any = at
            byte: Any = np.int64(0)
            while at < end:
                byte = np.int64(raw[np.uint64(at)])
                if byte < 48 or byte > 57:
                    break
                number = 10 * number + (byte - 48)
                at += 1
            num_digits: Any = at - first
            if role == T and byte == _POINT:
                at += 1
                first = at
                while at < end:
                    byte = np.int64(raw[np.uint64(at)])
                    if byte < 48 or byte > 57:
                        break
                    number = 10 * number + (byte - 48)
                    at += 1
                power = first - at
                num_digits -= power
                is_pointed = True
            if num_digits == 0 or num_digits > 18 or at >= end:
                is_plain = False
                break
            if column + 1 < len(roles):
                if byte != _BLANK and byte != _COMMA and byte != _TAB and byte != _SEMICOLON:
                    is_plain = False
                    break
                at += 1
            elif byte != _LINE_FEED:
                if byte == _RETURN and at + 1 < end and raw[np.uint64(at + 1)] == _LINE_FEED:
                    at += 1
                else:
                    is_plain = False
            if role == T:
                mantissa = number
            elif role == X:
                event_x = number
            elif role == Y:
                event_y = number
            elif role == P:
                event_p = -number if is_minus else number
            else:
                is_plain = False
                break
        error: Any = np.int64(NO_ERROR)
        if not is_plain or event_p > 1 or event_p < -1:
            at = begin
            while at < end and (raw[np.uint64(at)] == _BLANK or raw[np.uint64(at)] == _TAB):
                at += 1
            byte = np.int64(raw[np.uint64(at)]) if at < end else np.int64(_LINE_FEED)
            if byte in (_LINE_FEED, _RETURN, _HASH, _PERCENT):
                while at < end and raw[np.uint64(at)] != _LINE_FEED:
                    at += 1
                at += 1
                line += 1
                continue
            error, at = _read_line(raw, begin, end, roles, values)
            mantissa, event_x, event_y, event_p = values[T], values[X], values[Y], values[P]
            power, is_pointed = values[POWER], values[IS_POINTED] != 0
        event_t: Any = _scaled(abs(mantissa), power + exponent)
        if error == NO_ERROR and event_t >= LATEST:
            error = TOO_LATE
        if mantissa < 0:
            event_t = -event_t
        if error == NO_ERROR:
            if is_pointed:
                has_point = True
                if not (has_fraction and may_have_fraction) and not _is_whole(mantissa, power):
                    has_fraction = True
                    if not may_have_fraction:
                        error = FRACTION
            if event_p < 0:
                has_minus = True
            elif event_p == 0:
                has_zero = True
            if has_minus and has_zero:
                error = MIXED
            if at >= end and roles[-1] == T and num_events > 0 and event_t < last_t:
                error = FEWER  # digits, by all appearances
        is_inside = 0 <= event_x < width and 0 <= event_y < height
        if error == NO_ERROR and is_inside:
            if num_events == 0:
                first_t = last_t = event_t
            if is_long_wrong and abs(event_t - first_t) > LONGEST:
                error = TOO_LONG
        if error != NO_ERROR:
            if at >= end and error in (FEWER, NO_NUMBER):
                state[NUM_UNREAD] = end - begin
            else:
                state[ERROR], state[ERROR_AT] = error, begin
            break
        at += 1
        line += 1
        if not is_inside:
            num_outside += 1
            continue
        num_back += event_t < last_t
        num_changes += event_t != last_t
        largest = max(largest, abs(event_t))
        last_t = event_t
        num_events += 1
        x[n], y[n], t[n], p[n] = event_x, event_y, event_t, event_p == 1
        n += 1
    state[AT], state[LINE], state[NUM_EVENTS] = min(at, end), line, num_events
    state[FIRST_T], state[LAST_T] = first_t, last_t
    state[NUM_BACK], state[NUM_OUTSIDE] = num_back, num_outside
    state[HAS_MINUS], state[HAS_ZERO], state[HAS_FRACTION], state[HAS_POINT] = (
        has_minus,
        has_zero,
        has_fraction,
        has_point,
    )
    state[NUM_CHANGES], state[LARGEST] = num_changes, largest
    return n


@cached_njit(nogil=True)
def _read_line(
    raw: NDArray[np.uint8], at: int, end: int, roles: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[int, int]:
    """Write the values of a line; return an error, or NO_ERROR, and where the line or what is wrong ends."""
    values[POWER] = values[IS_POINTED] = 0
    at = _skip_blanks(raw, at, end)
    for column in range(len(roles)):
        role = roles[column]
        if column > 0:
            before = at
            at = _skip_blanks(raw, at, end)
            if at < end and (raw[at] == _COMMA or raw[at] == _SEMICOLON):
                at = _skip_blanks(raw, at + 1, end)
            elif at >= end or raw[at] == _LINE_FEED or raw[at] == _RETURN:
                return FEWER, at
            elif at == before:
                return NO_SEPARATOR, at
        if role == IGNORED:
            stop = _skip_word(raw, at, end)
            if stop == at:
                return NO_NUMBER, at
            at = stop
            continue
        mantissa, power, is_negative, is_pointed, stop = _number(raw, at, end)
        if stop < 0 and role == P:
            mantissa, stop = _boolean(raw, at, end)
            power, is_negative = 0, False
        if stop < 0:
            return NO_NUMBER, -1 - stop
        at = stop
        if role == T:
            values[POWER], values[IS_POINTED] = power, is_pointed
        elif power != 0:
            if not _is_whole(mantissa, power):
                return NO_POLARITY if role == P else NOT_WHOLE, at
            mantissa = _scaled(mantissa, power)
        values[role] = -mantissa if is_negative else mantissa
        if role == P and mantissa > 1:
            return NO_POLARITY, at
    at = _skip_blanks(raw, at, end)
    if at < end and raw[at] == _RETURN:
        at += 1
    if at < end and raw[at] != _LINE_FEED:
        return MORE, at
    return NO_ERROR, at


@cached_njit(nogil=True)
def _skip_blanks(raw: NDArray[np.uint8], at: int, end: int) -> Any:
    while at < end and (raw[np.uint64(at)] == _BLANK or raw[np.uint64(at)] == _TAB):
        at += 1
    return at


@cached_njit(nogil=True)
def _skip_word(raw: NDArray[np.uint8], at: int, end: int) -> int:
    """Return where a field that is not read ends."""
    while at < end:
        byte = raw[at]
        if byte <= _BLANK or byte in (_COMMA, _SEMICOLON):
            break
        at += 1
    return at


@cached_njit(nogil=True)
def _number(raw: NDArray[np.uint8], at: int, end: int) -> tuple[Any, Any, Any, Any, Any]:
    """Return (mantissa, power, is_negative, is_pointed, stop): a decimal number is mantissa x 10^power, with a sign.

    Digits after the 18th only count in the power, so a number is rounded down to 18 digits. If there is no number,
    `stop` is -1 - the position of what is wrong; else where the number ends.
    """
    mantissa: Any = np.int64(0)
    power: Any = np.int64(0)
    is_negative = False
    is_pointed = False
    if at < end and (raw[np.uint64(at)] == _MINUS or raw[np.uint64(at)] == _PLUS):
        is_negative = raw[np.uint64(at)] == _MINUS
        at += 1
    begin: Any = at
    while at < end:
        digit: Any = np.int64(raw[np.uint64(at)]) - 48
        if digit < 0 or digit > 9:
            break
        if mantissa < _MOST_MANTISSA:
            mantissa = 10 * mantissa + digit
        else:
            power += 1
        at += 1
    num_digits: Any = at - begin
    if at < end and raw[np.uint64(at)] == _POINT:
        is_pointed = True
        at += 1
        begin = at
        while at < end:
            digit = np.int64(raw[np.uint64(at)]) - 48
            if digit < 0 or digit > 9:
                break
            if mantissa < _MOST_MANTISSA:
                mantissa = 10 * mantissa + digit
                power -= 1
            at += 1
        num_digits += at - begin
    if num_digits == 0:
        return mantissa, power, is_negative, is_pointed, -1 - at
    if at < end and raw[np.uint64(at)] | 32 == 101:  # e or E
        is_pointed = True
        shift, at = _exponent(raw, at + 1, end)
        power += shift
    return mantissa, power, is_negative, is_pointed, at


@cached_njit(nogil=True)
def _exponent(raw: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the exponent behind an e and where it ends, or -1 - the position of what is wrong."""
    is_negative = False
    if at < end and (raw[at] == _MINUS or raw[at] == _PLUS):
        is_negative = raw[at] == _MINUS
        at += 1
    begin = at
    exponent: Any = np.int64(0)
    while at < end and 48 <= raw[at] <= 57:
        exponent = min(10 * exponent + np.int64(raw[at]) - 48, 1 << 40)
        at += 1
    if at == begin:
        return 0, -1 - at
    return -exponent if is_negative else exponent, at


@cached_njit(nogil=True)
def _boolean(raw: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return 1 for `true` and 0 for `false`, in any case, and where the word ends, or -1 - the position."""
    stop = _skip_word(raw, at, end)
    word: Any = np.int64(0)
    for i in range(at, min(stop, at + 6)):
        word = word << 8 | np.int64(raw[i] | 32)
    if word == 0x74727565:  # true
        return 1, stop
    if word == 0x66616C7365:  # false
        return 0, stop
    return 0, -1 - (stop if stop == end else at)


@cached_njit(nogil=True)
def _is_whole(mantissa: int, power: int) -> bool:
    if power >= 0 or mantissa == 0:
        return True
    return power >= -18 and mantissa % _POWERS[-power] == 0


@cached_njit(nogil=True)
def _scaled(mantissa: Any, power: Any) -> Any:
    """Return mantissa x 10^power, rounded to the nearest, a half upwards; LATEST if it is that or more."""
    if power == 0:
        return min(mantissa, np.int64(LATEST))
    if power == -3:  # seconds with nine digits; division by a constant is a multiplication
        return np.int64(np.uint64(mantissa + 500) // np.uint64(1000))
    if power < 0:
        return np.int64(0) if power < -18 else min((mantissa + _POWERS[-power] // 2) // _POWERS[-power], LATEST)
    if mantissa == 0:
        return np.int64(0)
    if power > 17 or mantissa >= LATEST // _POWERS[power]:
        return np.int64(LATEST)
    return mantissa * _POWERS[power]

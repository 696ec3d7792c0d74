"""Numbers of bits in the hardware."""

VOTE_BITS = 16  # more bits than a class count has: a recording's votes are sums of at least 2^16 - 1 frames


def bits_for(largest: int) -> int:
    """Return the bits of an unsigned number up to `largest`; at least 1."""
    return max(largest.bit_length(), 1)

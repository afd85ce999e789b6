"""Who is at the other end of the public links, what they may have of this process, and what comes and goes there."""

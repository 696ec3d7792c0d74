"""Events in, a class out, in C: recordings are classified while their events come, on a microcontroller too."""

"""What an executor knows of one socket, from the bag to FINALIZE.

The parts stand on one another: `state` (everything remembered), `sending`, `clocks`, `ending`, and
`channel`, which runs the current operation.
"""

from .channel import Channel as Channel

"""The parts of `mlopt.techniques.slim`: what a channel is worth, what it costs, which to cut, the proof of the cut."""

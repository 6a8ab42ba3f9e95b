"""Channels that go together: which there are, what they are worth and cost, and the network without them."""

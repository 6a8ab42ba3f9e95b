"""For tests of mlopt and of its plug-ins: contracts to subclass, and tiny models that train nothing."""

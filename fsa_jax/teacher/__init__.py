"""The teacher: engines behind one protocol, and the run that can be killed and resumed."""

"""The trained network as gates: simplification, schedule, packed evaluation."""

"""The MIL reference evaluator: reads a Core ML program and runs it in numpy, for machines without Core ML."""

"""What runs in the workers of a run: a module for each kind of result, whose imports are the code that decides it."""

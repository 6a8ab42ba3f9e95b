"""Training settings made into one task for a framework: objective, teachers, distribution, tracking."""

"""What to do, as data: recipes, how they are read, and what is wrong with one."""

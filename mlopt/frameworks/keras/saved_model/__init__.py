"""SavedModel folders: judged before they are opened, and opened by their serving signature."""

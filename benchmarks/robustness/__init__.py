"""What a script of this folder measures: answers to hostile input."""

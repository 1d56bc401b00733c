"""What runs next to the board: driver, validation, virtual board."""

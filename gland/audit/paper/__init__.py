"""What the paper's own equations imply."""

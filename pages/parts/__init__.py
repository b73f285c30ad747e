"""What the pages share: asking the core, drawing, and keeping a session."""

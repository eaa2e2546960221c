"""The page of an alert: one self-contained HTML file that tells what drifted, how far, and what follows."""

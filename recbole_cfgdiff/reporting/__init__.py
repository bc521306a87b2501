"""What can be said of many runs: tables, tests, figures, reports."""

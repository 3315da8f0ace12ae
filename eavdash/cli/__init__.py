"""The command line: parsers, what each command does, what it prints, and the server of the dashboard."""

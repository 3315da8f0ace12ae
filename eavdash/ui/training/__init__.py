"""What the pages of the section ``training`` share."""

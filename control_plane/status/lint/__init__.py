"""What policies in force do together that nobody meant, judged by the calls that were seen. Pure."""

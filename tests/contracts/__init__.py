"""What each service expects of those that it depends on, against their real code: a file for each consumer.

A test uses the consumer's own code where it can, so that it fails when either side changes alone.
"""

"""Inbox: stands for the world's mail servers. It takes mail by SMTP and shows it."""

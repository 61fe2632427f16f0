"""Notifications: mails to people, from jobs and events."""
